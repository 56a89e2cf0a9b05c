//! Follows the chain of bases and lays the differentials over the tree.

use std::collections::HashMap;

use super::node::Node;
use super::{Generated, core, merge};
use crate::canonical::Canonical;
use crate::definitions::definitions;
use crate::element_path::{Place, Step};
use crate::outcome::{Issue, IssueCode, Severity};
use crate::validate::{ProfileSource, core_type, limits};
use crate::{Object, Resource, Value};

/// Elements that may be made on the way to one snapshot, those of all its bases and types included. The largest published
/// profile takes about 3 000.
const ELEMENTS: usize = 50_000;

/// Makes one snapshot.
pub(super) struct Generator<'s> {
    source: &'s dyn ProfileSource,
    /// Trees of profiles that were needed already, by canonical.
    known: HashMap<String, Node>,
    /// Profiles that are being made.
    stack: Vec<String>,
    issues: Vec<Issue>,
    /// What is left of [`ELEMENTS`].
    budget: usize,
}

/// There is no tree.
pub(super) struct Fault {
    code: IssueCode,
    text: String,
}

type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    pub(super) fn new(code: IssueCode, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }
}

impl<'s> Generator<'s> {
    pub(super) fn new(source: &'s dyn ProfileSource) -> Self {
        Self { source, known: HashMap::new(), stack: Vec::new(), issues: Vec::new(), budget: ELEMENTS }
    }

    pub(super) fn run(mut self, definition: &Resource) -> std::result::Result<Generated, Vec<Issue>> {
        let made = if definition.type_name() == "StructureDefinition" {
            self.stack.push(identity(definition));
            self.tree(definition)
        } else {
            Err(Fault::new(IssueCode::Structure, format!("{} has no snapshot", definition.type_name())))
        };
        match made {
            Ok(tree) if self.issues.iter().all(|issue| issue.severity < Severity::Error) => {
                let mut definition = definition.clone();
                super::put(&mut definition, Object::new().with("element", tree.into_elements()).into());
                Ok(Generated { definition, warnings: self.issues })
            }
            Ok(_) => Err(self.issues),
            Err(fault) => {
                self.issues.push(Issue::new(Severity::Error, fault.code, fault.text).at("StructureDefinition"));
                Err(self.issues)
            }
        }
    }

    /// The tree of a definition: that of its base with its differential; of its snapshot if it has nothing else.
    fn tree(&mut self, definition: &Resource) -> Result<Node> {
        let url = definition.str("url").unwrap_or_default();
        if self.stack.len() > limits::NESTED_PROFILES {
            return Err(Fault::new(
                IssueCode::TooCostly,
                format!("profile {url} has too many bases or needs profiles too deep"),
            ));
        }
        let is_specialization = definition.str("derivation") == Some("specialization");
        let elements = |part: &str| definition.get(part).map_or(&[][..], |part| part.list("element"));
        let (differential, snapshot) = (elements("differential"), elements("snapshot"));
        if differential.len().max(snapshot.len()) > limits::ELEMENTS {
            return Err(Fault::new(
                IssueCode::TooCostly,
                format!("profile {url} has more than {} elements", limits::ELEMENTS),
            ));
        }
        if differential.is_empty() && !snapshot.is_empty() {
            return self.of_snapshot(url, snapshot);
        }
        let Some(base) = definition.str("baseDefinition") else {
            return Err(Fault::new(IssueCode::Required, format!("profile {url} has no baseDefinition")));
        };
        let mut root = self.tree_of(base).map_err(|fault| match fault.code {
            IssueCode::NotFound => Fault::new(fault.code, format!("profile {url} is based on {base}: {}", fault.text)),
            _ => fault,
        })?;
        let type_name = definition.str("type").unwrap_or_default();
        if is_specialization {
            root.name = type_name.rsplit('/').next().unwrap_or(type_name).to_owned();
        } else if root.name != type_name {
            let text = format!("profile {url} is for {type_name}, its base for {}", root.name);
            return Err(Fault::new(IssueCode::Structure, text));
        }
        let mut place = Place::default();
        for element in differential.iter().filter_map(Value::as_object) {
            self.lay(&mut root, &mut place, element, url, is_specialization)?;
        }
        Ok(root)
    }

    /// Lays one ElementDefinition over the tree.
    fn lay(&mut self, root: &mut Node, place: &mut Place, element: &Object, url: &str, may_add: bool) -> Result<()> {
        let at = element.str("id").or_else(|| element.str("path")).unwrap_or("an element").to_owned();
        let Some(steps) = place.steps(element).filter(|steps| steps.len() <= limits::DEPTH) else {
            self.error(
                IssueCode::Required,
                &at,
                format!("an element of profile {url} has no path, or one that is too long"),
            );
            return Ok(());
        };
        let starts_at = element.str("path").and_then(|path| path.split('.').next());
        if starts_at != Some(root.name.as_str()) {
            self.error(
                IssueCode::Structure,
                &at,
                format!("the path does not begin with {} (profile {url})", root.name),
            );
            return Ok(());
        }
        match self.find(root, &steps, may_add) {
            Ok((node, is_new_slice)) => {
                merge::merge(node, element, url, is_new_slice, &mut |code, severity, text| {
                    let issue = Issue::new(severity, code, format!("{text} (profile {url})")).at(at.as_str());
                    self.issues.push(issue);
                });
                self.say_what_the_type_says(node, element);
            }
            Err(fault) if fault.code == IssueCode::TooCostly => return Err(fault),
            Err(fault) => self.error(fault.code, &at, format!("{} (profile {url})", fault.text)),
        }
        if self.issues.len() > limits::ISSUES {
            return Err(Fault::new(IssueCode::TooCostly, "too many findings, further ones are not listed"));
        }
        Ok(())
    }

    fn error(&mut self, code: IssueCode, at: &str, text: String) {
        self.issues.push(Issue::new(Severity::Error, code, text).at(at));
    }

    /// The tree of a type of R4 or of a profile.
    fn tree_of(&mut self, canonical: &str) -> Result<Node> {
        if let Some(known) = self.known.get(canonical).cloned() {
            self.spend(&known)?;
            return Ok(known);
        }
        if let Some(tree) = core_type(canonical).and_then(core::tree) {
            self.spend(&tree)?;
            self.known.insert(canonical.to_owned(), tree.clone());
            return Ok(tree);
        }
        let found = Canonical::parse(canonical)
            .and_then(|wanted| self.source.structure_definition(&wanted.url, wanted.version.as_deref()));
        let Some(definition) = found else {
            return Err(Fault::new(IssueCode::NotFound, format!("profile {canonical} is not known")));
        };
        let identity = identity(&definition);
        if self.stack.contains(&identity) {
            return Err(Fault::new(IssueCode::Structure, format!("profile {canonical} needs itself")));
        }
        self.stack.push(identity);
        let tree = self.tree(&definition);
        self.stack.pop();
        let tree = tree?;
        self.spend(&tree)?;
        self.known.insert(canonical.to_owned(), tree.clone());
        Ok(tree)
    }

    fn spend(&mut self, tree: &Node) -> Result<()> {
        match self.budget.checked_sub(tree.count()) {
            Some(left) => {
                self.budget = left;
                Ok(())
            }
            None => Err(Fault::new(IssueCode::TooCostly, format!("the snapshot needs more than {ELEMENTS} elements"))),
        }
    }

    /// The tree of a list of elements, for a base that comes without differential.
    fn of_snapshot(&mut self, url: &str, elements: &[Value]) -> Result<Node> {
        let first = elements.first().and_then(Value::as_object);
        let Some(name) = first.and_then(|first| first.str("path")) else {
            return Err(Fault::new(IssueCode::Structure, format!("the snapshot of profile {url} has no root")));
        };
        let mut root = Node::new(name.to_owned(), Object::new(), Some(Vec::new()));
        let mut place = Place::default();
        for element in elements.iter().filter_map(Value::as_object) {
            let Some(steps) = place.steps(element).filter(|steps| steps.len() <= limits::DEPTH) else {
                return Err(Fault::new(
                    IssueCode::Structure,
                    format!("the snapshot of profile {url} has an element without path"),
                ));
            };
            let mut node = &mut root;
            for step in &steps {
                if !step.name.is_empty() {
                    node = add_child(node, &step.name);
                }
                if let Some(slice) = &step.slice {
                    node = add_slice(node, slice, Node::new(step.name.clone(), Object::new(), None));
                }
            }
            node.definition = element.clone();
            for derived in ["id", "path", "sliceName"] {
                node.definition.remove(derived);
            }
        }
        Ok(root)
    }

    /// The node at the steps, and whether it is a slice that was made for this.
    fn find<'t>(&mut self, root: &'t mut Node, steps: &[Step], may_add: bool) -> Result<(&'t mut Node, bool)> {
        let mut node = root;
        let mut is_new = false;
        for step in steps {
            is_new = false;
            self.walk_into(node)?;
            let (name, implied) = instance_name(node, &step.name, may_add)?;
            let child = add_child(node, &name);
            // A choice that is written with its type is the slice of that type.
            let slice = step.slice.clone().or_else(|| implied.as_ref().map(|_| step.name.clone()));
            let Some(slice) = slice else {
                node = child;
                continue;
            };
            if !child.slices.iter().any(|known| known.slice.as_deref() == Some(slice.as_str())) {
                is_new = true;
                let made = self.slice(child, &slice, implied.as_deref())?;
                add_slice(child, &slice, made);
            }
            node = add_slice(child, &slice, Node::new(name, Object::new(), None));
        }
        Ok((node, is_new))
    }

    /// A new slice: the element, or the slice that it divides further (`a/b` divides `a`).
    fn slice(&mut self, element: &mut Node, name: &str, of_type: Option<&str>) -> Result<Node> {
        if element.definition.get("slicing").is_none() {
            let implied = match element.name.as_str() {
                "extension" | "modifierExtension" => core::slicing("value", "url"),
                choice if choice.ends_with("[x]") => core::slicing("type", "$this"),
                other => {
                    return Err(Fault::new(IssueCode::Structure, format!("{other} has slice {name} without slicing")));
                }
            };
            element.definition.set("slicing", implied);
        }
        let divided = name
            .rsplit_once('/')
            .and_then(|(outer, _)| element.slices.iter().find(|slice| slice.slice.as_deref() == Some(outer)));
        let mut made = match divided {
            Some(outer) => outer.without_slices(),
            None => element.without_slices(),
        };
        self.spend(&made)?;
        made.slice = Some(name.to_owned());
        made.definition.remove("slicing");
        made.definition.set("min", 0_i64);
        if let Some(code) = of_type {
            let types =
                made.definition.list("type").iter().filter(|type_| type_.str("code") == Some(code)).cloned().collect();
            made.definition.set("type", Value::Array(types));
        }
        Ok(made)
    }

    /// Gives an element the children of its type, of the type's profile, or of the element that it refers to.
    fn walk_into(&mut self, node: &mut Node) -> Result<()> {
        if node.children.is_some() {
            return Ok(());
        }
        if let Some(reference) = node.definition.str("contentReference") {
            let Some(target) = core::referenced(reference) else {
                return Err(Fault::new(IssueCode::NotFound, format!("content reference {reference} leads nowhere")));
            };
            self.spend(&target)?;
            node.definition.remove("contentReference");
            if let Some(type_) = target.definition.get("type") {
                node.definition.set("type", type_.clone());
            }
            node.children = target.children;
            return Ok(());
        }
        let types = node.definition.list("type");
        let tree = match types {
            [type_] => {
                let code = type_.str("code").unwrap_or_default().to_owned();
                match type_.list("profile") {
                    [profile] => {
                        let profile = profile.as_str().unwrap_or_default().to_owned();
                        match self.tree_of(&profile) {
                            Err(fault) if fault.code == IssueCode::NotFound => {
                                let text = format!("{}; its elements are taken from {code}", fault.text);
                                self.issues
                                    .push(Issue::new(Severity::Warning, fault.code, text).at(node.name.as_str()));
                                self.of_type(&code)?
                            }
                            other => other?,
                        }
                    }
                    _ => self.of_type(&code)?,
                }
            }
            // What all types have in common.
            _ => self.of_type("Element")?,
        };
        node.children = tree.children;
        Ok(())
    }

    fn of_type(&mut self, code: &str) -> Result<Node> {
        self.tree_of(&core::canonical(code))
    }

    /// An element of one profiled type, most often an extension, is described by that profile unless the differential does.
    fn say_what_the_type_says(&mut self, node: &mut Node, element: &Object) {
        let [type_] = element.list("type") else { return };
        let ([profile], false) = (type_.list("profile"), type_.str("code") == Some("Quantity")) else { return };
        let Some(profile) = profile.as_str() else { return };
        // A profile that is not known, or not usable, describes nothing; whoever walks into it is told.
        let before = self.issues.len();
        let root = self.tree_of(profile);
        self.issues.truncate(before);
        let Ok(root) = root else { return };
        for name in ["short", "definition", "comment", "requirements", "isModifier", "isModifierReason"] {
            if element.get(name).is_none()
                && let Some(value) = root.definition.get(name)
            {
                node.definition.set(name, value.clone());
            }
        }
        for constraint in root.definition.list("constraint") {
            merge::add_constraint(&mut node.definition, constraint, profile);
        }
    }
}

fn identity(definition: &Resource) -> String {
    format!("{}|{}", definition.str("url").unwrap_or_default(), definition.str("version").unwrap_or_default())
}

/// The name of the child in the tree, and the type if a choice is written with its type (`valueString`).
fn instance_name(node: &Node, name: &str, may_add: bool) -> Result<(String, Option<String>)> {
    let children = node.children.iter().flatten();
    if children.clone().any(|child| child.name == name) {
        return Ok((name.to_owned(), None));
    }
    for child in children {
        let Some(written) = child.name.strip_suffix("[x]").and_then(|stem| name.strip_prefix(stem)) else { continue };
        let codes = child.definition.list("type").iter().filter_map(|type_| type_.str("code"));
        if let Some(code) = codes.into_iter().find(|code| is_written(code, written)) {
            return Ok((child.name.clone(), Some(code.to_owned())));
        }
    }
    if may_add {
        return Ok((name.to_owned(), None));
    }
    let has_several = node.definition.list("type").len() > 1;
    let of = if has_several { "an element of several types".to_owned() } else { node.name.clone() };
    Err(Fault::new(IssueCode::Structure, format!("{name} is no element of {of}")))
}

/// Whether the type is written so in the name of an element: `dateTime` as `DateTime`.
fn is_written(code: &str, written: &str) -> bool {
    let mut code = code.chars();
    let mut written = written.chars();
    code.next().map(|first| first.to_ascii_uppercase()) == written.next() && code.eq(written)
}

/// The child of this name, made at the end if there is none.
fn add_child<'t>(node: &'t mut Node, name: &str) -> &'t mut Node {
    let children = node.children.get_or_insert_default();
    let index = match children.iter().position(|child| child.name == name) {
        Some(index) => index,
        None => {
            children.push(Node::new(name.to_owned(), Object::new(), None));
            children.len() - 1
        }
    };
    #[expect(clippy::indexing_slicing, reason = "the index was found or made in the lines above")]
    &mut children[index]
}

/// The slice of this name; `made` takes its place behind the slice that it divides, or at the end.
fn add_slice<'t>(node: &'t mut Node, name: &str, made: Node) -> &'t mut Node {
    let slices = &mut node.slices;
    let index = match slices.iter().position(|slice| slice.slice.as_deref() == Some(name)) {
        Some(index) => index,
        None => {
            let outer = name.rsplit_once('/').map(|(outer, _)| outer);
            let belongs = |slice: &Node| {
                let known = slice.slice.as_deref().unwrap_or_default();
                outer.is_some_and(|outer| {
                    known == outer || known.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'))
                })
            };
            let index = slices.iter().rposition(belongs).map_or(slices.len(), |before| before + 1);
            slices.insert(index, Node { slice: Some(name.to_owned()), ..made });
            index
        }
    };
    #[expect(clippy::indexing_slicing, reason = "the index was found or made in the lines above")]
    &mut slices[index]
}

/// Whether values of one type may stand where the base has the other.
pub(super) fn is_kind_of(code: &str, base: &str) -> bool {
    code == base || definitions().type_(code).is_some_and(|definition| definition.is_a(base))
}
