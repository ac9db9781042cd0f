//! Gives each service as many containers as it should have: makes what is missing, removes what is
//! too much.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::slot;
use crate::model::service::Service;
use crate::model::task::{DesiredState, Task};
use crate::state::{Draft, State};

pub(super) fn pass(draft: &mut Draft<'_>) {
    let state = draft.state();
    let unfilled: Vec<Arc<Service>> = state
        .services
        .values()
        .filter(|service| service.removal.is_none() && !service.is_standalone())
        .filter(|service| !is_filled(state, service))
        .cloned()
        .collect();
    for service in unfilled {
        fill(draft, &service);
        trim(draft, &service);
    }
}

/// The usual case, looked at without making anything: one container in each slot, and no other.
fn is_filled(state: &State, service: &Service) -> bool {
    let mut next = 1;
    for task in state.service_tasks(&service.id) {
        if task.slot != next || task.desired == DesiredState::Remove {
            return false;
        }
        next += 1;
    }
    next == slot::wanted(state, service) + 1
}

/// A slot in which a person has stopped or removed the container is left empty.
fn fill(draft: &mut Draft<'_>, service: &Service) {
    let state = draft.state();
    let taken: BTreeSet<u32> = state
        .service_tasks(&service.id)
        .filter(|task| task.desired < DesiredState::Remove)
        .map(|task| task.slot)
        .collect();
    let empty: Vec<u32> = slot::active(state, service)
        .difference(&taken)
        .copied()
        .collect();
    for slot in empty {
        slot::make(draft, service, slot, DesiredState::Running, None);
    }
}

fn trim(draft: &mut Draft<'_>, service: &Service) {
    let wanted = slot::wanted(draft.state(), service);
    let surplus: Vec<Arc<Task>> = draft
        .state()
        .service_tasks(&service.id)
        .filter(|task| task.slot > wanted)
        .cloned()
        .collect();
    for task in surplus {
        draft.desire(&task, DesiredState::Remove, Some(&service.stop));
    }
}
