//! User tasks of instances: offered as a QuestionnaireResponse, withdrawn when nobody waits for the answer any more.

use std::sync::Arc;

use bpmn::{Command, ListenerEvent, StepKind, StepOutcome};

use super::Unit;
use crate::runtime::ProcessError;
use crate::user_task::{self, DefaultListener, UserTaskListener};

impl Unit<'_, '_> {
    /// Stores the QuestionnaireResponse of the user task, or ends what cannot have one.
    pub(super) fn user_task_created(&mut self, id: &str, created: &bpmn::UserTask) -> Result<(), ProcessError> {
        let listeners = &Arc::clone(&self.catalogue).implementations.user_tasks;
        let declared = created.listeners.iter().find(|listener| {
            listener.event == ListenerEvent::Create && listeners.contains_key(listener.class.as_str())
        });
        let listener = declared.and_then(|declared| listeners.get(declared.class.as_str())).map(Arc::clone);
        let listener = listener.unwrap_or_else(|| Arc::new(DefaultListener) as Arc<dyn UserTaskListener>);
        let step = bpmn::Step {
            priority: None,
            step: created.user_task.clone(),
            token: created.token,
            element: created.element.clone(),
            scope: created.scope,
            kind: StepKind::Service,
            class: declared.map(|declared| declared.class.clone()).unwrap_or_default(),
            topic: None,
            fields: declared.map(|declared| declared.fields.clone()).unwrap_or_default(),
            retry: None,
        };
        let business_key = self.loaded.get(id).map(|loaded| loaded.business_key.clone()).unwrap_or_default();
        let requested = self.tx.now();
        let (_, outcome) = self.in_context(id, &step, requested, |context| {
            let node = context.node();
            let mut response = user_task::new_response(context.transaction(), node, created, &step, &business_key)?;
            listener.before_create(context, &mut response)?;
            user_task::check_response(&response, created)?;
            let stored = context.transaction().create(response, &created.user_task)?;
            if let Some(output) = user_task::task_output(&step) {
                context.add_output(output);
            }
            listener.after_create(context, &stored.resource)
        })?;
        match outcome {
            StepOutcome::Completed { .. } => self.write_variables(id, &step, outcome),
            StepOutcome::BpmnError { code, message, .. } => {
                let reason = message.unwrap_or_else(|| format!("BPMN error {code}"));
                self.enqueue(id, Command::UserTaskRejected { user_task: step.step.clone(), code, reason });
            }
            StepOutcome::Failed { reason } => {
                let reason = self.fatal(id, &step, &reason);
                self.enqueue(id, Command::Fail { element: Some(step.element.clone()), reason });
            }
        }
        Ok(())
    }
}
