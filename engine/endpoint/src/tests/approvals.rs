//! Changes of the allow-list that wait for several people.

use std::sync::Arc;

use policies::Policy;
use serde_json::json;

use super::support::{Node, Who};
use crate::{ApplyError, Judgement, PendingChange};

const NEEDED: usize = 6;

/// The shipped policy, but two people approve every change of the allow-list.
fn two_person() -> Policy {
    let files: Vec<(&str, String)> = policies::default_files()
        .iter()
        .map(|(name, text)| (*name, text.replace("approval = \"none\"", "approval = \"two-person\"")))
        .collect();
    let files: Vec<(&str, &str)> = files.iter().map(|(name, text)| (*name, text.as_str())).collect();
    Policy::load(&files).unwrap()
}

/// The approval of one person; the last one that is needed carries the change out.
fn approve(person: usize) -> impl FnOnce(&PendingChange) -> Result<Judgement, ApplyError> + Send + 'static {
    move |pending| {
        let mut approvals = pending.approvals.clone();
        approvals.push(person.to_string());
        let carry_out = approvals.len() == NEEDED;
        Ok(Judgement { approvals, carry_out })
    }
}

#[tokio::test]
async fn of_approvals_at_one_time_none_is_lost() {
    let node = Node::start().await;
    node.policies.activate(Arc::new(two_person()));
    let path = format!("/Organization/{}", node.find("/Organization?identifier=External_Test_Organization").await);
    let mut changed = node.get(Who::Loc, &path).await.json();
    changed["name"] = json!("New");
    node.put(Who::Loc, &path, &changed).await.expect_outcome(403, "forbidden");
    let digest = node.endpoint.pending_changes().await.unwrap().remove(0).digest;

    let mut running = tokio::task::JoinSet::new();
    for person in 0..NEEDED {
        let (endpoint, digest) = (node.endpoint.clone(), digest.clone());
        running.spawn(async move {
            endpoint.approve_pending(Who::Loc.identity(), &digest, approve(person)).await.map(|judged| judged.carry_out)
        });
    }
    let answers = running.join_all().await;
    assert_eq!(answers.iter().filter(|answer| matches!(answer, Ok(true))).count(), 1, "{answers:?}");
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    assert_eq!(node.get(Who::Loc, &path).await.json()["name"], "New");
    assert!(node.endpoint.pending_changes().await.unwrap().is_empty());
    let again = node.endpoint.approve_pending(Who::Loc.identity(), &digest, approve(0)).await;
    assert!(matches!(again, Err(ApplyError::Unknown)), "{again:?}");
}

#[tokio::test]
async fn an_approval_that_is_refused_leaves_those_before_it() {
    let node = Node::start().await;
    node.policies.activate(Arc::new(two_person()));
    let path = format!("/Organization/{}", node.find("/Organization?identifier=External_Test_Organization").await);
    let mut changed = node.get(Who::Loc, &path).await.json();
    changed["name"] = json!("New");
    node.put(Who::Loc, &path, &changed).await.expect_outcome(403, "forbidden");
    let waiting = node.endpoint.pending_changes().await.unwrap().remove(0);
    let identity = Who::Loc.identity();
    node.endpoint.approve_pending(identity.clone(), &waiting.digest, approve(0)).await.unwrap();
    let refuse = |_: &PendingChange| Err(ApplyError::Refused("of nobody".to_owned()));
    node.endpoint.approve_pending(identity.clone(), &waiting.digest, refuse).await.unwrap_err();
    // Carried out by nobody if what it touches has changed meanwhile, and still there to be rejected.
    node.policies.activate(Arc::new(super::support::policy("")));
    changed["name"] = json!("Other");
    node.put(Who::Loc, &path, &changed).await.expect(200);
    let all = |_: &PendingChange| Ok::<_, ApplyError>(Judgement { approvals: Vec::new(), carry_out: true });
    let stale = node.endpoint.approve_pending(identity, &waiting.digest, all).await;
    assert!(matches!(stale, Err(ApplyError::Stale(_))), "{stale:?}");
    assert_eq!(node.endpoint.pending_changes().await.unwrap().remove(0).approvals, ["0"]);
    assert_eq!(node.get(Who::Loc, &path).await.json()["name"], "Other");
}
