//! What instances wait for: messages and signals.
//!
//! Instances are found by process key and version tag across definitions (`process-engine.md` 0.6) and by business key
//! or alternative business key; both live in the row of the instance, so they cannot disagree with the subscription.

use crate::{StoreError, Transaction, limits};

/// An instance waits for a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageSubscription {
    /// The instance.
    pub instance: String,
    /// Id of the subscription within the instance.
    pub id: String,
    /// The name it waits for.
    pub message_name: String,
    /// The correlation key of the waiting execution.
    pub correlation_key: Option<String>,
}

/// An instance waits for a signal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SignalSubscription {
    /// The instance.
    pub instance: String,
    /// Id of the subscription within the instance.
    pub id: String,
    /// The name it waits for.
    pub signal_name: String,
}

/// What a message says about its receiver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageTarget<'a> {
    /// Process id; `None` for any.
    pub process_key: Option<&'a str>,
    /// Version tag; `None` for any.
    pub version_tag: Option<&'a str>,
    /// Message name.
    pub message_name: &'a str,
    /// Business key, or alternative business key of the receiver.
    pub business_key: &'a str,
    /// If the message has one, the receiver must wait with the same; without one it fits every receiver.
    pub correlation_key: Option<&'a str>,
}

impl Transaction<'_> {
    /// Replaces everything that the instance waits for.
    pub fn set_subscriptions(
        &mut self,
        instance: &str,
        messages: &[MessageSubscription],
        signals: &[SignalSubscription],
    ) -> Result<(), StoreError> {
        self.put("DELETE FROM message_subscription WHERE instance = ?1", &[instance.into()])?;
        self.put("DELETE FROM signal_subscription WHERE instance = ?1", &[instance.into()])?;
        for message in messages {
            self.put(
                "INSERT INTO message_subscription (instance, id, message_name, correlation_key) VALUES (?1, ?2, ?3, ?4)",
                &[
                    instance.into(),
                    (&message.id).into(),
                    (&message.message_name).into(),
                    message.correlation_key.as_deref().into(),
                ],
            )?;
        }
        for signal in signals {
            self.put(
                "INSERT INTO signal_subscription (instance, id, signal_name) VALUES (?1, ?2, ?3)",
                &[instance.into(), (&signal.id).into(), (&signal.signal_name).into()],
            )?;
        }
        Ok(())
    }

    /// What the instance waits for.
    pub fn message_subscriptions_of(&mut self, instance: &str) -> Result<Vec<MessageSubscription>, StoreError> {
        self.rows(
            "SELECT instance, id, message_name, correlation_key FROM message_subscription WHERE instance = ?1 ORDER BY id",
            &[instance.into()],
            read_message,
        )
    }

    /// The subscriptions that the message fits; more than one means that it is ambiguous.
    pub fn find_message_subscriptions(
        &mut self,
        target: &MessageTarget<'_>,
    ) -> Result<Vec<MessageSubscription>, StoreError> {
        self.rows(
            "SELECT s.instance, s.id, s.message_name, s.correlation_key
             FROM message_subscription AS s JOIN instance AS i ON i.id = s.instance
             WHERE i.id IN (SELECT id FROM instance WHERE business_key = ?1 AND ended = 0
                    UNION SELECT id FROM instance WHERE alternative_business_key = ?1 AND ended = 0)
                AND s.message_name = ?2
                AND (?3 = '' OR s.correlation_key = ?3)
                AND (?4 = '' OR i.process_key = ?4) AND (?5 = '' OR i.version_tag = ?5)
             ORDER BY i.created, s.instance, s.id LIMIT ?6",
            &[
                target.business_key.into(),
                target.message_name.into(),
                target.correlation_key.unwrap_or_default().into(),
                target.process_key.unwrap_or_default().into(),
                target.version_tag.unwrap_or_default().into(),
                limits::ROWS.into(),
            ],
            read_message,
        )
    }

    /// Every instance that waits for the signal.
    pub fn find_signal_subscriptions(&mut self, signal_name: &str) -> Result<Vec<SignalSubscription>, StoreError> {
        self.rows(
            "SELECT instance, id, signal_name FROM signal_subscription WHERE signal_name = ?1
             ORDER BY instance, id LIMIT ?2",
            &[signal_name.into(), limits::ROWS.into()],
            |row| Ok(SignalSubscription { instance: row.string(0)?, id: row.string(1)?, signal_name: row.string(2)? }),
        )
    }
}

fn read_message(row: &dyn crate::Row) -> Result<MessageSubscription, StoreError> {
    Ok(MessageSubscription {
        instance: row.string(0)?,
        id: row.string(1)?,
        message_name: row.string(2)?,
        correlation_key: row.optional_string(3)?,
    })
}
