//! Officers: a policy comes into force by their signatures and by nothing else. The steps are those of
//! `docs/policy-guide.md`, taken from its text.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "test code: a surprise is a failed test"
)]

use std::path::{Path, PathBuf};
use std::time::Duration;

use certs::development::{Authority, KeyType, Subject, Validity};
use rustix::process::Signal;
use serde_json::{Value, json};
use tests::network::{Network, Process};
use tests::{Client, Node, Output, Pair, Schleuse, tasks, until};
use time::OffsetDateTime;

const TIME: Duration = Duration::from_secs(30);

/// The node, and officers with their keys on their own desks.
struct Lab {
    dic: Node,
    portal: Node,
    client: Client,
    desk: tempfile::TempDir,
}

fn guide() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/policy-guide.md");
    std::fs::read_to_string(path).unwrap()
}

/// The blocks of one language in a section of the guide.
fn blocks(section: &str, language: &str) -> Vec<String> {
    let text = guide();
    let start = text.find(&format!("\n{section}\n")).unwrap_or_else(|| panic!("the guide has no section {section}"));
    let rest = &text[start + 1 + section.len()..];
    let level = section.split(' ').next().unwrap();
    let end = rest.find(&format!("\n{level} ")).unwrap_or(rest.len());
    let fence = format!("```{language}\n");
    rest[..end].split(&fence).skip(1).map(|block| block[..block.find("```").unwrap()].to_owned()).collect()
}

impl Lab {
    fn new(network: &Network) -> Self {
        let (dic, portal) = (network.node("dic-1"), network.node("portal"));
        let desk = tests::network::folder();
        let validity = Validity::days(OffsetDateTime::now_utc(), 10);
        let authority = Authority::root(&Subject::german("Hospital", "Staff"), KeyType::EcdsaP256, validity).unwrap();
        std::fs::create_dir(dic.path("officers")).unwrap();
        for name in ["first", "second", "third", "stranger"] {
            let issued =
                authority.issue_person(&Subject::german("Hospital", name), KeyType::EcdsaP256, validity).unwrap();
            let pair = Pair::write(desk.path(), name, &issued);
            std::fs::copy(pair.certificate, dic.path(&format!("officers/{name}.pem"))).unwrap();
        }
        let client = network.organization("portal", "dic-1");
        Self { dic, portal, client, desk }
    }

    /// Runs a line of the guide as it stands.
    fn typed(&self, line: &str) -> Output {
        let directory = self.dic.directory.display().to_string();
        let words: Vec<String> = line
            .split(' ')
            .map(|word| word.replace("/srv/schleuse", &directory))
            .map(|word| if word.starts_with("DIR") { word.replacen("DIR", &directory, 1) } else { word })
            .map(|word| match word.strip_suffix(".pem").or_else(|| word.strip_suffix(".key")) {
                Some(_) if !word.contains('/') => self.desk.path().join(&word).display().to_string(),
                _ => word,
            })
            .collect();
        assert_eq!(words[0], "schleuse", "{line}");
        Schleuse::run(&words[1..])
    }

    fn all(&self, block: &str) {
        for line in block.lines() {
            // `diff` and `replay` say by their exit code whether something changes.
            let code = if line.starts_with("schleuse diff") { 1 } else { 0 };
            self.typed(line).expect(code);
        }
    }

    async fn version(&self) -> (Value, Value) {
        let ready: Value = serde_json::from_str(&self.dic.manage("/ready").await.unwrap().1).unwrap();
        (ready["policy-number"].clone(), ready["policy-version"].clone())
    }

    /// The next policy is in force.
    async fn comes_after(&self, before: &(Value, Value)) -> (Value, Value) {
        let number = before.0.as_u64().map(|number| number + 1);
        let next = async || Some(self.version().await).filter(|version| version.0.as_u64() == number);
        until("the next policy", TIME, next).await
    }

    /// What `count` of the two processes refuses.
    async fn reloads_to_no_effect(&self, count: f64) {
        let failures = async || self.dic.metric("schleuse_reload_failures_total").await.unwrap_or(0.0);
        let before = failures().await;
        self.dic.signal(Process::Engine, Signal::HUP);
        self.dic.signal(Process::Gateway, Signal::HUP);
        until("both reloads to fail", TIME, async || (failures().await >= before + count).then_some(())).await;
    }

    fn put(&self, file: &str, text: &str) {
        std::fs::write(self.dic.path(file), text).unwrap();
    }

    /// Both processes are killed and come back with what was in force.
    async fn start_again(self, network: &Network) -> Self {
        let before = (self.dic.gateway_pid, self.dic.engine_pid, self.version().await);
        for process in [Process::Engine, Process::Gateway] {
            self.dic.signal(process, Signal::KILL);
        }
        let back = async || {
            let node = network.node("dic-1");
            let ready = node.manage("/ready").await.is_some_and(|(status, _)| status == 200);
            (ready && node.gateway_pid != before.0 && node.engine_pid != before.1).then_some(node)
        };
        let lab = Self { dic: until("another life of both", TIME, back).await, ..self };
        assert_eq!(lab.version().await, before.2);
        lab
    }

    /// The way back: without those before it takes the administrator, who starts the node.
    async fn lost_keys_take_a_start(self, network: &Network) {
        let before = self.version().await;
        self.dic.edit("node.toml", |text| text.replace("stranger.pem", "third.pem"));
        self.dic.edit("policies/pings.toml", |text| format!("{text}# keys were lost\n"));
        let sign = "schleuse policy sign DIR --officers-lost --certificate third.pem --private-key third.key";
        assert!(!self.typed(sign).expect(0).out.contains("the officers change with it"));
        let said = self.typed("schleuse policy activate DIR").expect(1).err;
        assert!(said.contains("keeps the one before"), "{said}");
        assert_eq!(self.version().await, before);
        for process in [Process::Engine, Process::Gateway] {
            self.dic.signal(process, Signal::KILL);
        }
        let number = before.0.as_u64().map(|number| number + 1);
        until("the policy of the new officers", TIME, async || {
            let ready = network.node("dic-1").manage("/ready").await?;
            let state: Value = serde_json::from_str(&ready.1).ok()?;
            (ready.0 == 200 && state["policy-number"].as_u64() == number).then_some(())
        })
        .await;
    }
}

#[tokio::test]
async fn officers_sign_activate_and_go_back_by_the_steps_of_the_guide() {
    let network = Network::start(1);
    let lab = Lab::new(&network);
    let sections = blocks("## Signed policies", "toml");
    lab.dic.edit("node.toml", |text| format!("{text}\n{}", sections[0]));
    let shell = blocks("## Signed policies", "sh");
    lab.typed("schleuse policy activate DIR").expect(78);
    lab.all(&shell[0]);
    // The officers count from the next start on, and status says that they wait for it.
    assert!(lab.typed("schleuse status DIR").expect(0).out.contains("takes it at its next start"));
    let before = lab.dic.gateway_pid;
    lab.dic.signal(Process::Gateway, Signal::TERM);
    until("another life of the gateway", TIME, async || (network.node("dic-1").gateway_pid != before).then_some(()))
        .await;
    let lab = Lab { dic: network.node("dic-1"), ..lab };
    lab.dic.until_ready().await;
    assert!(!lab.typed("schleuse status DIR").expect(0).out.contains("node.toml"));
    assert_eq!(lab.version().await.0, json!(1));
    lab.client.get("/metadata").await.expect(200);

    the_rule_of_the_portal_comes_into_force(&lab).await;
    what_nobody_signed_changes_nothing(&lab).await;
    a_rule_that_is_signed_decides_requests(&lab).await;
    let second = lab.version().await;
    // Back to the policy before, by two officers.
    lab.typed(shell[1].lines().next().unwrap()).expect(0);
    assert_eq!(lab.version().await, second, "one signature of two");
    lab.typed(shell[1].lines().nth(1).unwrap()).expect(0);
    let (number, _) = lab.version().await;
    assert_eq!(number, json!(4));
    lab.client.post("/Task", &tasks::ping(&lab.portal, &lab.dic)).await.expect(201);
    let log = lab.dic.text("audit/gateway.log");
    assert!(log.contains("policy 4 signed by") && log.contains("CN=second"), "the audit log names the officers");
    changes_of_the_allow_list_wait_for_two_officers(&network, &lab).await;
    // The engine has another process id since it was killed.
    let lab = Lab { dic: network.node("dic-1"), ..lab };
    officers_change_while_the_node_runs(&lab).await;
    lab.start_again(&network).await.lost_keys_take_a_start(&network).await;
}

/// The officer's example of the guide: written, checked, compared, signed by two, activated.
async fn the_rule_of_the_portal_comes_into_force(lab: &Lab) {
    let section = "### Limit when and how often something may be started";
    let rule = blocks(section, "toml").remove(0);
    lab.put(
        "policies/portal.toml",
        &rule.replace("org:portal.example", &format!("org:{}", lab.portal.organization_identifier)),
    );
    let shell = blocks(section, "sh");
    lab.all(&shell[0].lines().take(2).collect::<Vec<_>>().join("\n"));
    let checked = lab.typed("schleuse check DIR").expect(0).out;
    assert!(checked.contains("the draft is not what is in force"), "{checked}");
    lab.all(&shell[1]);
    assert_eq!(lab.version().await.0, json!(2));

    // The rule decides: on a Saturday the portal is refused, on a Monday it is not.
    let mut task = tasks::ping(&lab.portal, &lab.dic);
    task["instantiatesCanonical"] = json!("http://medizininformatik-initiative.de/bpe/Process/feasibilityExecute|1.0");
    task["input"][0]["valueString"] = json!("feasibilityExecuteMessage");
    let body = lab.desk.path().join("task.json");
    std::fs::write(&body, task.to_string()).unwrap();
    let explained = |time: &str| {
        let certificate = lab.portal.organization.certificate.display();
        let line = format!(
            "schleuse explain --directory DIR --certificate {certificate} --method POST --url /fhir/Task --body {} --time {time}",
            body.display()
        );
        lab.typed(&line).out
    };
    let saturday = explained("2026-01-31T12:00:00Z");
    assert!(saturday.contains("GW-POL-014") && saturday.contains("portal-feasibility-hours"), "{saturday}");
    let monday = explained("2026-02-02T12:00:00Z");
    assert!(!monday.contains("GW-POL-014"), "{monday}");
}

async fn what_nobody_signed_changes_nothing(lab: &Lab) {
    let before = lab.version().await;
    let signed = lab.dic.path("signed-policies/000002");
    let sign = |who: &str, more: &str| {
        lab.typed(&format!("schleuse policy sign DIR --certificate {who}.pem --private-key {who}.key{more}"))
    };
    // A draft is a draft.
    lab.dic.edit("policies/portal.toml", |text| text.replace("07:00", "06:00"));
    let activate = || lab.typed("schleuse policy activate DIR").expect(1).err;
    let said = activate();
    assert!(said.contains("portal.toml: was changed after it was signed"), "{said}");
    // A stranger, an old number, one signature.
    assert!(sign("stranger", "").expect(1).err.contains("is no officer"));
    assert!(sign("first", " --number 2").expect(1).err.contains("not above 2"));
    sign("first", "").expect(0);
    assert!(sign("first", "").expect(1).err.contains("has signed this policy already"));
    assert!(activate().contains("1 of 2 signatures"));
    // A policy with an error is not even signed.
    let draft = lab.dic.text("policies/portal.toml");
    lab.put("policies/portal.toml", &draft.replace("restrict", "restrain"));
    sign("second", "").expect(78);
    lab.put("policies/portal.toml", &draft);
    assert_eq!(lab.version().await, before);

    // A flipped bit in what is in force: named, and without effect on the running node.
    for (file, named) in [("portal.toml", "portal.toml: was changed"), ("signatures.json", "signatures.json: ")] {
        let path = signed.join(file);
        let good = std::fs::read(&path).unwrap();
        let mut bad = good.clone();
        let place = bad.len() / 2;
        bad[place] ^= 1;
        std::fs::write(&path, bad).unwrap();
        lab.reloads_to_no_effect(2.0).await;
        let verified = lab.typed("schleuse policy verify DIR");
        assert!(verified.code != Some(0) && verified.err.contains(named), "{verified:?}");
        assert!(lab.typed("schleuse check DIR").expect(78).out.contains(named));
        std::fs::write(&path, good).unwrap();
    }
    // Without the newest the one before is a downgrade, and without officers nothing is signed.
    let aside = PathBuf::from(format!("{}.aside", signed.display()));
    std::fs::rename(&signed, &aside).unwrap();
    lab.reloads_to_no_effect(2.0).await;
    assert!(lab.typed("schleuse check DIR").expect(78).out.contains("is older than 2"));
    std::fs::rename(&aside, &signed).unwrap();
    let settings = lab.dic.text("node.toml");
    lab.put("node.toml", &settings[..settings.find("\n[officers]").unwrap()]);
    // The gateway has the officers of its start.
    lab.reloads_to_no_effect(1.0).await;
    assert!(lab.typed("schleuse check DIR").expect(78).out.contains("names no officers"));
    lab.put("node.toml", &settings);
    assert_eq!(lab.version().await, before);
    lab.client.get("/metadata").await.expect(200);
}

/// Through the socket of a partner: what two officers signed holds from the next request on.
async fn a_rule_that_is_signed_decides_requests(lab: &Lab) {
    let rule = "schema = 1\n\n[[rule]]\nid = \"no-pings\"\neffect = \"deny\"\nsubject = \"remote-organization\"\nmatch = { operations = [\"create\"], types = [\"Task\"] }\nwhen.task = { message-name = [\"ping\"] }\n";
    lab.put("policies/pings.toml", rule);
    // One officer signs at the node, the other a copy of the files at his own desk.
    lab.typed("schleuse policy sign DIR --certificate first.pem --private-key first.key").expect(0);
    let copy = lab.desk.path().join("copy");
    std::fs::create_dir(&copy).unwrap();
    for file in std::fs::read_dir(lab.dic.path("policies")).unwrap() {
        let file = file.unwrap().path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            std::fs::copy(&file, copy.join(file.file_name().unwrap())).unwrap();
        }
    }
    let desk = format!(
        "schleuse policy sign {0} --policies {1} --organization-identifier {2} --number 3 --certificate third.pem --private-key third.key",
        lab.desk.path().display(),
        copy.display(),
        lab.dic.organization_identifier
    );
    lab.typed(&desk).expect(0);
    lab.client.post("/Task", &tasks::ping(&lab.portal, &lab.dic)).await.expect(201);
    let activate = format!("schleuse policy activate DIR --signatures {}/signatures.json", copy.display());
    lab.typed(&activate).expect(0);
    let refused = lab.client.post("/Task", &tasks::ping(&lab.portal, &lab.dic)).await.expect(403).text();
    assert!(refused.contains("GW-POL-013") && refused.contains("no-pings"), "{refused}");
    lab.client.get("/metadata").await.expect(200);
}

/// Every way to change the allow-list waits; what two officers approved comes into force, and nothing else.
async fn changes_of_the_allow_list_wait_for_two_officers(network: &Network, lab: &Lab) {
    let own = network.organization("dic-1", "dic-1");
    let bundle = own.get("/Organization?identifier=http://dsf.dev/sid/organization-identifier%7Cportal.example").await;
    let portal = bundle.expect(200).json()["entry"][0]["resource"].clone();
    let path = format!("/Organization/{}", portal["id"].as_str().unwrap());
    let name = async || own.get(&path).await.expect(200).json()["name"].clone();
    let renamed = |to: &str| {
        let mut changed = portal.clone();
        changed["name"] = json!(to);
        changed
    };
    lab.dic.edit("policies/allow-list.toml", |text| text.replace("approval = \"none\"", "approval = \"two-person\""));
    for who in ["first", "third"] {
        lab.typed(&format!("schleuse policy sign DIR --certificate {who}.pem --private-key {who}.key")).expect(0);
    }
    lab.typed("schleuse policy activate DIR").expect(0);

    let waits = |answer: tests::Answer| {
        let refused = answer.expect(403);
        let text = refused.text();
        assert!(text.contains("EN-FHIR-028"), "{text}");
        let outcome = refused.json();
        let said = outcome["issue"][0]["diagnostics"].as_str().unwrap().to_owned();
        said.rsplit(' ').next().unwrap().to_owned()
    };
    let single = waits(own.put(&path, &renamed("Renamed")).await);
    let entry = json!({ "fullUrl": format!("{}{path}", lab.dic.base_url), "resource": renamed("In a Bundle"),
        "request": { "method": "PUT", "url": path.trim_start_matches('/') } });
    let transaction = json!({ "resourceType": "Bundle", "type": "transaction", "entry": [entry] });
    let bundled = waits(own.post("", &transaction).await);
    let batch = json!({ "resourceType": "Bundle", "type": "batch", "entry": [entry] });
    let batched = own.post("", &batch).await.expect(200).text();
    assert!(batched.contains("EN-FHIR-028"), "{batched}");
    let deleted = waits(own.delete(&path).await);
    assert_eq!(name().await, portal["name"], "nothing is changed before it is approved");

    let listed = lab.typed("schleuse allow-list pending DIR --format json").expect(0).json();
    assert_eq!(listed["pending"].as_array().unwrap().len(), 3, "{listed:#}");
    let shown = lab.typed(&format!("schleuse allow-list pending DIR --digest {single}")).expect(0).out;
    assert!(shown.contains("\"name\": \"Renamed\""), "{shown}");
    let approve = |digest: &str, who: &str| {
        lab.typed(&format!(
            "schleuse allow-list approve {digest} --certificate {who}.pem --private-key {who}.key --directory DIR --format json"
        ))
    };
    assert_eq!(approve(&single, "first").expect(0).json()["applied"], json!(false));
    assert!(approve(&single, "first").expect(1).err.contains("second one of the same officer"));
    assert!(approve(&single, "stranger").expect(1).err.contains("is of nobody"));
    assert_eq!(name().await, portal["name"]);
    // What waits and who has approved it is in the store.
    lab.dic.signal(Process::Engine, Signal::KILL);
    until("the engine is back", TIME, async || (own.get("/metadata").await.status == 200).then_some(())).await;
    assert_eq!(approve(&single, "second").expect(0).json()["applied"], json!(true));
    assert_eq!(name().await, json!("Renamed"));
    // The others were made for what is no longer there.
    approve(&bundled, "first").expect(0);
    assert!(approve(&bundled, "second").expect(1).err.contains("has changed since"));
    let reject =
        |digest: &str| lab.typed(&format!("schleuse allow-list reject {digest} --reason outdated --directory DIR"));
    reject(&bundled).expect(0);
    reject(&bundled).expect(1);
    reject(&deleted).expect(0);
    assert_eq!(name().await, json!("Renamed"));
    let log = lab.dic.text("audit/engine.log");
    assert!(log.contains(&format!("approval of {single} by")) && log.contains("CN=second"));
    assert!(log.contains(&format!("rejection of {deleted}: outdated")));
    a_downloaded_list_waits_too(network, lab, &own).await;
}

/// What a partner publishes is held as well, and comes into force as it was judged.
async fn a_downloaded_list_waits_too(network: &Network, lab: &Lab, own: &Client) {
    let ttp = network.node("ttp").directory.display().to_string();
    let published = Schleuse::run(&["--format", "json", "allow-list", "publish", &ttp]).expect(0).json();
    let url = published["bundle"].as_str().unwrap();
    let download = || lab.typed(&format!("schleuse allow-list download {url} --directory DIR --format json")).expect(0);
    assert_eq!(download().json()["outcome"], "unchanged", "nobody approves what is known");
    let new = tests::members::member("new.example", &"a".repeat(128));
    let at_ttp = network.organization("ttp", "ttp");
    at_ttp.post("", &tests::members::transaction(&new)).await.expect(200);
    Schleuse::run(&["allow-list", "publish", &ttp]).expect(0);
    let held = download().json();
    assert_eq!(held["outcome"], "waiting", "{held}");
    let digest = held["text"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned();
    let query = "/Organization?identifier=http://dsf.dev/sid/organization-identifier%7Cnew.example";
    let known = async || own.get(query).await.expect(200).json()["total"].clone();
    for (who, applied) in [("first", false), ("second", true)] {
        assert_eq!(known().await, json!(0));
        let approved = lab.typed(&format!(
            "schleuse allow-list approve {digest} --certificate {who}.pem --private-key {who}.key --directory DIR --format json"
        ));
        assert_eq!(approved.expect(0).json()["applied"], json!(applied));
    }
    assert_eq!(known().await, json!(1));
}

/// The third leaves and a stranger comes: by a policy that officers of before and of after have signed, in both processes at
/// once, without a start. Who may edit `node.toml` makes nobody an officer of the running node.
async fn officers_change_while_the_node_runs(lab: &Lab) {
    let before = lab.version().await;
    let sign =
        |who: &str| lab.typed(&format!("schleuse policy sign DIR --certificate {who}.pem --private-key {who}.key"));
    let settings = lab.dic.text("node.toml");
    lab.put("node.toml", &settings.replace("required = 2", "required = 1").replace("third.pem", "stranger.pem"));
    // The file alone changes nothing, and neither does a policy that only the new one has signed.
    lab.reloads_to_no_effect(1.0).await;
    let alone = sign("stranger").expect(0).out;
    assert!(alone.contains("the officers change with it") && alone.contains("CN=third"), "{alone}");
    assert!(lab.typed("schleuse policy activate DIR").expect(1).err.contains("of 2 signatures"));
    assert_eq!(lab.version().await, before);
    // Two of those before, of whom one stays.
    sign("first").expect(0);
    let enough = sign("second").expect(0).out;
    assert!(enough.contains("enough"), "{enough}");
    lab.typed("schleuse policy activate DIR").expect(0);
    let changed = lab.comes_after(&before).await;
    lab.client.get("/metadata").await.expect(200);
    // From here on the new one suffices, in both processes, and the third is nobody.
    lab.dic.edit("policies/pings.toml", |text| format!("{text}# reviewed by the new officer\n"));
    assert!(sign("third").expect(1).err.contains("is no officer"));
    sign("stranger").expect(0);
    lab.typed("schleuse policy activate DIR").expect(0);
    lab.comes_after(&changed).await;
    lab.client.get("/metadata").await.expect(200);
}
