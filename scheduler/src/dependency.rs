//! Which service comes before which.
//!
//!     web ──► api ──► db        up:   db · api · web
//!              └────► cache     down: web · api · cache, db
//!
//! An edge is an entry of `depends_on`, or the use of another service's namespace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use petgraph::graph::{DiGraph, NodeIndex};

use crate::model::container::{NamespaceMode, NetworkMode, Sibling};
use crate::model::service::ServiceSpec;

/// The services of one stack, and what each needs.
#[derive(Clone, Debug, Default)]
pub struct DependencyGraph<'a> {
    needs: BTreeMap<&'a str, BTreeSet<&'a str>>,
}

/// Services that wait for each other, in order; the last one waits for the first.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Cycle(pub Vec<String>);

impl fmt::Display for Cycle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for service in &self.0 {
            write!(f, "{service} → ")?;
        }
        f.write_str(self.0.first().map_or("", String::as_str))
    }
}

impl<'a> DependencyGraph<'a> {
    /// Dependencies on services that are not among `specs` are left out.
    pub fn new(specs: impl IntoIterator<Item = &'a ServiceSpec>) -> Self {
        let specs: Vec<_> = specs.into_iter().collect();
        let known: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
        let needs = specs
            .iter()
            .map(|spec| {
                let names = needs(spec).into_iter().filter(|name| known.contains(name));
                (spec.name.as_str(), names.collect())
            })
            .collect();
        Self { needs }
    }

    /// Every service after all that it needs; names decide where nothing else does.
    ///
    /// # Errors
    ///
    /// Returns the shortest [`Cycle`] through the first service that is on one.
    pub fn order_up(&self) -> Result<Vec<&'a str>, Cycle> {
        let mut order = Vec::with_capacity(self.needs.len());
        let mut left = self.needs.clone();
        while !left.is_empty() {
            let free: Vec<&str> = left
                .iter()
                .filter(|(_, needs)| needs.iter().all(|name| !left.contains_key(name)))
                .map(|(name, _)| *name)
                .collect();
            if free.is_empty() {
                return Err(self.cycle());
            }
            for name in free {
                left.remove(name);
                order.push(name);
            }
        }
        Ok(order)
    }

    /// `names`, and everything they need, however indirectly.
    pub fn closure<'b>(&self, names: impl IntoIterator<Item = &'b str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let mut queue: Vec<&str> = names.into_iter().collect();
        while let Some(name) = queue.pop() {
            if !found.insert(name.to_owned()) {
                continue;
            }
            queue.extend(self.needs.get(name).into_iter().flatten());
        }
        found
    }

    /// A shortest way from a service back to itself, found from each strongly connected part.
    fn cycle(&self) -> Cycle {
        let mut graph: DiGraph<&str, ()> = DiGraph::new();
        let nodes: BTreeMap<&str, NodeIndex> = self
            .needs
            .keys()
            .map(|name| (*name, graph.add_node(name)))
            .collect();
        for (name, needs) in &self.needs {
            for need in needs {
                graph.add_edge(nodes[name], nodes[need], ());
            }
        }
        let parts = petgraph::algo::tarjan_scc(&graph);
        let circular = |part: &&Vec<NodeIndex>| {
            part.len() > 1 || part.iter().any(|node| graph.contains_edge(*node, *node))
        };
        let on_cycles = parts.iter().filter(circular).flatten();
        let start = on_cycles.map(|node| graph[*node]).min();
        let Some(start) = start else {
            return Cycle(Vec::new());
        };
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut queue = std::collections::VecDeque::from([start]);
        while let Some(name) = queue.pop_front() {
            for need in self.needs.get(name).into_iter().flatten().copied() {
                if need == start {
                    let mut way = vec![name.to_owned()];
                    let mut at = name;
                    while let Some(previous) = before.get(at) {
                        way.push((*previous).to_owned());
                        at = previous;
                    }
                    way.reverse();
                    return Cycle(way);
                }
                if !before.contains_key(need) {
                    before.insert(need, name);
                    queue.push_back(need);
                }
            }
        }
        Cycle(vec![start.to_owned()])
    }
}

/// The services that one needs by name, whether or not they exist.
pub fn needs(spec: &ServiceSpec) -> BTreeSet<&str> {
    let mut names: BTreeSet<&str> = spec.depends_on.keys().map(String::as_str).collect();
    names.extend(joined(spec).into_iter().map(|(_, service)| service));
    names
}

/// What containers of a service share with those of another, namespaces and volumes: kind and
/// service.
pub fn joined(spec: &ServiceSpec) -> Vec<(&'static str, &str)> {
    let container = &spec.container;
    let mut joined = Vec::new();
    if let NetworkMode::Service(name) = &container.network {
        joined.push(("network", name.as_str()));
    }
    for (kind, mode) in [("pid", &container.pid), ("ipc", &container.ipc)] {
        if let NamespaceMode::Service(name) = mode {
            joined.push((kind, name.as_str()));
        }
    }
    for from in &container.volumes_from {
        if let Sibling::Service(name) = &from.container {
            joined.push(("volumes", name.as_str()));
        }
    }
    joined
}

#[cfg(test)]
mod tests;
