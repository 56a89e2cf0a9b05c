//! Messages that came before their receiver waited, and those whose receiver will never wait.

use std::collections::BTreeSet;

use bpmn::{Command, Id, Trigger};
use store::processes::BufferedMessage;

use super::{UNABLE_TO_CORRELATE, Unit, rows, settle};
use crate::runtime::ProcessError;

impl Unit<'_, '_> {
    /// Gives the instances that opened subscriptions what waited for them. Runs when nothing else is to be done, so that
    /// each subscription is really open, and gives each of them one message at most.
    pub(super) fn take_from_inbox(&mut self) -> Result<(), ProcessError> {
        for id in std::mem::take(&mut self.waiting) {
            let mut taken: BTreeSet<Id> = BTreeSet::new();
            for message in self.buffered_for(&id)? {
                let Some(loaded) = self.loaded.get(&id) else { break };
                let fits = loaded.instance.subscriptions().find(|open| {
                    !taken.contains(&open.subscription)
                        && matches!(&open.trigger, Trigger::Message { name, correlation_key } if *name == message.message_name
                            && (message.correlation_key.is_none() || message.correlation_key == *correlation_key))
                });
                let Some(subscription) = fits.map(|open| open.subscription.clone()) else { continue };
                taken.insert(subscription.clone());
                self.tx.delete_inbox(&message.task_id)?;
                let command = Command::Message { subscription, variables: Vec::new(), message: Some(message.task_id) };
                self.enqueue(&id, command);
            }
        }
        Ok(())
    }

    /// What waits for this instance, oldest first.
    fn buffered_for(&mut self, id: &str) -> Result<Vec<BufferedMessage>, ProcessError> {
        let Some(loaded) = self.loaded.get(id) else { return Ok(Vec::new()) };
        let mut messages = self.tx.inbox_of(&loaded.business_key)?;
        if let Some(key) = rows::alternative_business_key(&loaded.instance).filter(|key| *key != loaded.business_key) {
            messages.extend(self.tx.inbox_of(&key)?);
        }
        let definition = &loaded.definition;
        messages.retain(|message| message.process_key == definition.key && message.version_tag == definition.version);
        Ok(messages)
    }

    /// The instance ended. What waits for its business key fails now, unless another instance may still take it.
    pub(super) fn reject_waiting(
        &mut self,
        process_key: &str,
        version_tag: &str,
        business_key: &str,
    ) -> Result<(), ProcessError> {
        let waiting = self.tx.inbox_of(business_key)?;
        if waiting.is_empty() {
            return Ok(());
        }
        let alive = self.tx.instances_by_business_key(business_key)?;
        if alive.iter().any(|other| other.process_key == process_key && other.version_tag == version_tag) {
            return Ok(());
        }
        for message in waiting {
            if message.process_key == process_key && message.version_tag == version_tag {
                self.tx.delete_inbox(&message.task_id)?;
                settle::fail(self.tx, &message.task_id, Vec::new(), UNABLE_TO_CORRELATE)?;
            }
        }
        Ok(())
    }
}
