//! `up`: from the file to rows. What is equal stays untouched, so that a second `up` changes nothing.

mod check;

pub(super) use check::ports_are_free;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::command::{Dependencies, DeployOptions, Orphans, Recreate, Reply, Start};
use super::refusal::Refusal;
use super::{resource, services};
use crate::dependency::DependencyGraph;
use crate::model::container::{ContainerSpec, NetworkMode};
use crate::model::id::NetworkId;
use crate::model::image::ImagePin;
use crate::model::rollout::Rollout;
use crate::model::service::{AnonymousVolumes, Service, ServiceMode, ServiceSpec};
use crate::model::stack::{Stack, StackRecord};
use crate::model::task::{DesiredState, StopOrder};
use crate::reconcile::slot;
use crate::state::{Change, Draft, State};

pub(super) fn deploy(
    draft: &mut Draft<'_>,
    mut stack: Stack,
    options: &DeployOptions,
) -> Result<Reply, Refusal> {
    let selected = select(&stack, options)?;
    scale(&mut stack, options)?;
    if options.dependencies == Dependencies::Ignore {
        forget_dependencies(&mut stack, &selected);
    }
    check::check(draft.state(), &stack, &selected)?;
    record(draft, &stack, options);
    bring(draft, &stack, &selected)?;

    let mut changed = BTreeSet::new();
    let mut replaced = BTreeSet::new();
    for (name, spec) in &stack.services {
        if !selected.contains(name) {
            continue;
        }
        match set_service(draft, &stack.name, spec, options) {
            Outcome::Kept => {}
            Outcome::New => {
                changed.insert(name.clone());
            }
            Outcome::Replaced => {
                changed.insert(name.clone());
                replaced.insert(name.clone());
            }
        }
    }
    if options.start == Start::Now {
        let untouched = |name: &String| !changed.contains(name);
        for name in selected.iter().filter(|name| untouched(name)) {
            if let Some(service) = draft.state().service_named(&stack.name, name).cloned() {
                services::revive(draft, &service, services::Revive::WhatFailed);
            }
        }
        services::restart_dependents(draft, &stack.name, &replaced, &changed);
    }
    let orphans = orphans(draft, &stack, options);
    Ok(Reply::Deployed {
        changed: changed.into_iter().collect(),
        orphans,
    })
}

/// The services to deploy: those named, and what they need.
fn select(stack: &Stack, options: &DeployOptions) -> Result<BTreeSet<String>, Refusal> {
    for name in options.services.iter().chain(options.scale.keys()) {
        if !stack.services.contains_key(name) {
            let known = stack.services.keys().map(String::as_str);
            return Err(services::unknown(&stack.name, name, known));
        }
    }
    if options.services.is_empty() {
        return Ok(stack.services.keys().cloned().collect());
    }
    if options.dependencies == Dependencies::Ignore {
        let own_steps = stack.services.values().filter(|spec| {
            let of = spec.pre_start_of.as_ref();
            of.is_some_and(|of| options.services.contains(of))
        });
        let steps = own_steps.map(|spec| spec.name.clone());
        return Ok(options.services.iter().cloned().chain(steps).collect());
    }
    let graph = DependencyGraph::new(stack.services.values());
    let mut selected = graph.closure(options.services.iter().map(String::as_str));
    selected.retain(|name| stack.services.contains_key(name));
    Ok(selected)
}

fn scale(stack: &mut Stack, options: &DeployOptions) -> Result<(), Refusal> {
    for (name, replicas) in &options.scale {
        if let Some(spec) = stack.services.get_mut(name) {
            spec.mode = ServiceMode::Replicated {
                replicas: *replicas,
            };
        }
    }
    stack.services.values().try_for_each(fixed_name_is_single)
}

pub(super) fn fixed_name_is_single(spec: &ServiceSpec) -> Result<(), Refusal> {
    match (&spec.container_name, spec.mode) {
        (Some(name), ServiceMode::Replicated { replicas }) if replicas > 1 => {
            Err(Refusal::FixedNameReplicas {
                service: spec.name.clone(),
                name: name.clone(),
                replicas,
            })
        }
        _ => Ok(()),
    }
}

fn forget_dependencies(stack: &mut Stack, selected: &BTreeSet<String>) {
    for spec in stack.services.values_mut() {
        spec.depends_on.retain(|name, _| selected.contains(name));
    }
}

fn record(draft: &mut Draft<'_>, stack: &Stack, options: &DeployOptions) {
    let known = draft.state().stacks.get(&stack.name);
    let mut logins = known.map_or_else(BTreeMap::new, |known| known.logins.clone());
    logins.extend(options.logins.clone());
    let mut record = StackRecord {
        name: stack.name.clone(),
        working_dir: stack.working_dir.clone(),
        config_files: stack.config_files.clone(),
        removal: None,
        logins,
        created_at: known.map_or(draft.now, |known| known.created_at),
        updated_at: known.map_or(draft.now, |known| known.updated_at),
    };
    if known.is_some_and(|known| **known == record) {
        return;
    }
    record.updated_at = draft.now;
    draft.push(Change::SetStack(Arc::new(record)));
}

/// Makes the networks, volumes, secrets and configs that the services use.
fn bring(draft: &mut Draft<'_>, stack: &Stack, selected: &BTreeSet<String>) -> Result<(), Refusal> {
    let used = check::Used::by(stack, selected);
    for spec in stack.networks.values() {
        if !spec.external && used.networks.contains(&spec.name) {
            resource::bring_network(draft, &stack.name, spec)?;
        }
    }
    for spec in stack.volumes.values() {
        if !spec.external && used.volumes.contains(&spec.name) {
            resource::bring_volume(draft, &stack.name, spec)?;
        }
    }
    for (kind, specs) in [
        (resource::SECRET, &stack.secrets),
        (resource::CONFIG, &stack.configs),
    ] {
        for spec in specs.values().filter(|spec| !spec.external) {
            resource::bring_content(draft, kind, &stack.name, spec)?;
        }
    }
    Ok(())
}

enum Outcome {
    /// Its containers stay.
    Kept,
    New,
    /// Its containers are replaced.
    Replaced,
}

fn set_service(
    draft: &mut Draft<'_>,
    stack: &str,
    spec: &ServiceSpec,
    options: &DeployOptions,
) -> Outcome {
    let mut spec = spec.clone();
    let found = options.pins.get(&spec.name);
    let Some(old) = draft.state().service_named(stack, &spec.name).cloned() else {
        pin(&mut spec, found.cloned());
        new_service(draft, stack, &spec, options);
        return Outcome::New;
    };
    let kept = pin_beside(&old.spec, found, &spec.container);
    pin(&mut spec, kept);
    if options.recreate == Recreate::Never {
        spec.container = old.spec.container.clone();
        spec.container_name.clone_from(&old.spec.container_name);
        spec.content_digest.clone_from(&old.spec.content_digest);
    }
    let replace = must_replace(draft.state(), &old, &spec, options);
    let mut service = (*old).clone();
    service.removal = None;
    if *old.spec != spec || replace {
        service.spec = Arc::new(spec);
        service.updated_at = draft.now;
    }
    if replace {
        service.begin_version(draft.now);
        service.anonymous_volumes = options.anonymous_volumes;
        service.stop = stop_order(options);
        forget_networks(draft.state(), &mut service);
    }
    service.versions = versions(draft.state(), &service);
    if options.scale.contains_key(&service.spec.name) {
        service.keep_scale();
    }
    if options.start == Start::Now {
        if options.recreate != Recreate::Never {
            service.resume(draft.now);
        }
        service.halted.clear();
    }
    let unmade = unmade(draft.state(), &service, replace, options.start);
    service.halted.extend(&unmade);
    if service != *old {
        draft.push(Change::SetService(Arc::new(service.clone())));
    }
    make_later(draft, &service, &unmade);
    if replace {
        Outcome::Replaced
    } else {
        Outcome::Kept
    }
}

fn pin(spec: &mut ServiceSpec, pin: Option<ImagePin>) {
    if spec.container.pin != pin {
        Arc::make_mut(&mut spec.container).pin = pin;
    }
}

/// Who was not told what the image is now, or hears of the same once more, stays with what it was.
fn pin_beside(
    old: &ServiceSpec,
    found: Option<&ImagePin>,
    wanted: &ContainerSpec,
) -> Option<ImagePin> {
    let old = &old.container;
    let of_same_name = old.image == wanted.image && old.platform == wanted.platform;
    let kept = old.pin.as_ref().filter(|_| of_same_name);
    match (kept, found) {
        (Some(kept), Some(found)) if !kept.is_same(found) => Some(found.clone()),
        (Some(kept), _) => Some(kept.clone()),
        (None, found) => found.cloned(),
    }
}

/// Addresses on networks that the service has left go back.
fn forget_networks(state: &State, service: &mut Service) {
    let NetworkMode::Attached(wishes) = &service.spec.container.network else {
        service.virtual_addresses.clear();
        service.virtual_addresses_ipv6.clear();
        return;
    };
    let stays = |id: &NetworkId| {
        let network = state.networks.get(id);
        network.is_some_and(|network| wishes.iter().any(|it| it.network == network.spec.name))
    };
    service.virtual_addresses.retain(|id, _| stays(id));
    service.virtual_addresses_ipv6.retain(|id, _| stays(id));
}

fn new_service(draft: &mut Draft<'_>, stack: &str, spec: &ServiceSpec, options: &DeployOptions) {
    let spec = Arc::new(spec.clone());
    let mut service = Service {
        id: draft.service_id(),
        stack: Some(stack.to_owned()),
        spec: spec.clone(),
        version: 1,
        versions: BTreeMap::from([(1, spec)]),
        halted: BTreeSet::new(),
        stop: StopOrder::default(),
        removal: None,
        rollout: Rollout::default(),
        anonymous_volumes: AnonymousVolumes::TakeOver,
        virtual_addresses: BTreeMap::new(),
        virtual_addresses_ipv6: BTreeMap::new(),
        created_at: draft.now,
        updated_at: draft.now,
    };
    if !service.is_job() {
        service.rollout = Rollout::first(draft.now);
    }
    let unmade = unmade(draft.state(), &service, false, options.start);
    service.halted.extend(&unmade);
    draft.push(Change::SetService(Arc::new(service.clone())));
    make_later(draft, &service, &unmade);
}

/// With `--no-start`: the slots that get a container which is not started.
fn unmade(state: &State, service: &Service, replace: bool, start: Start) -> BTreeSet<u32> {
    if start == Start::Now {
        return BTreeSet::new();
    }
    let taken: BTreeSet<u32> = state
        .service_tasks(&service.id)
        .filter(|task| task.desired != DesiredState::Remove)
        .map(|task| task.slot)
        .collect();
    slot::layout(state, service)
        .into_keys()
        .filter(|slot| replace || !taken.contains(slot))
        .collect()
}

fn make_later(draft: &mut Draft<'_>, service: &Service, slots: &BTreeSet<u32>) {
    let layout = slot::layout(draft.state(), service);
    for slot in slots {
        let slots = draft.state().slots(&service.id);
        let before = slots.get(slot).map(|task| (*task).clone());
        let node = layout.get(slot).and_then(Option::as_ref);
        let before = before.as_deref();
        slot::make(draft, service, *slot, DesiredState::Ready, before, node);
    }
}

/// Whether the containers of a service have to be made anew.
fn must_replace(state: &State, old: &Service, spec: &ServiceSpec, options: &DeployOptions) -> bool {
    // The steps before a service are part of it.
    let name = spec.pre_start_of.as_ref().unwrap_or(&spec.name);
    let named = options.services.is_empty() || options.services.contains(name);
    match options.recreate {
        Recreate::Never => return false,
        Recreate::Always if named => return true,
        Recreate::Always | Recreate::IfChanged => {}
    }
    old.spec.container.made_of() != spec.container.made_of()
        || old.spec.container_name != spec.container_name
        || old.spec.content_digest != spec.content_digest
        || image_differs(state, old, spec.container.pin.as_ref())
}

/// Where no image was agreed on before, it is compared with what the containers of the current
/// version run, as far as they have said so.
fn image_differs(state: &State, service: &Service, wanted: Option<&ImagePin>) -> bool {
    let Some(wanted) = wanted else {
        return false;
    };
    if let Some(pin) = &service.spec.container.pin {
        return !pin.is_same(wanted);
    }
    let mut running = state
        .service_tasks(&service.id)
        .filter(|task| task.version == service.version)
        .filter_map(|task| task.status.image_id.as_ref());
    running.any(|image| **image != *wanted.id)
}

/// The specs that are still needed: the current one, the one to go back to, and those of containers
/// that exist.
fn versions(state: &State, service: &Service) -> BTreeMap<u64, Arc<ServiceSpec>> {
    let used: BTreeSet<u64> = state
        .service_tasks(&service.id)
        .map(|it| it.version)
        .collect();
    let mut versions = service.versions.clone();
    versions.insert(service.version, service.spec.clone());
    let kept = [Some(service.version), service.rollout.previous];
    versions.retain(|version, _| kept.contains(&Some(*version)) || used.contains(version));
    versions
}

fn stop_order(options: &DeployOptions) -> StopOrder {
    StopOrder {
        grace_seconds: options.grace_seconds,
        ..StopOrder::default()
    }
}

fn orphans(draft: &mut Draft<'_>, stack: &Stack, options: &DeployOptions) -> Vec<String> {
    let orphans: Vec<Arc<Service>> = draft
        .state()
        .stack_services(&stack.name)
        .filter(|service| !stack.services.contains_key(&service.spec.name))
        .filter(|service| service.removal.is_none())
        .cloned()
        .collect();
    // A step that its service no longer has is of no use to anybody.
    let is_step = |service: &Arc<Service>| {
        let of = service.spec.pre_start_of.as_ref();
        of.is_some_and(|of| stack.services.contains_key(of))
    };
    let (steps, orphans): (Vec<_>, Vec<_>) = orphans.into_iter().partition(is_step);
    for step in steps {
        services::remove(draft, &step, stop_order(options));
    }
    if options.orphans == Orphans::Keep {
        return orphans
            .iter()
            .map(|service| service.spec.name.clone())
            .collect();
    }
    for service in orphans {
        services::remove(draft, &service, stop_order(options));
    }
    Vec::new()
}
