//! One entry of `services`.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Contents, Resolver, deploy, files, text, text_map};
use crate::compose::document::Node;
use crate::model::service::ServiceSpec;

impl Resolver<'_> {
    pub(super) fn services(
        &mut self,
        secrets: &Contents,
        configs: &Contents,
    ) -> BTreeMap<String, ServiceSpec> {
        let model = self.model;
        let services = model.get("services").into_iter().flat_map(Node::entries);
        services
            .map(|(name, entry)| {
                (
                    name.to_owned(),
                    self.service(name, &entry.node, secrets, configs),
                )
            })
            .collect()
    }

    /// Names of other runtimes for what is our own: programs that start containers as this one does.
    fn runtime(&mut self, service: &Node) {
        const OWN: [&str; 4] = ["wharfie", "runc", "io.containerd.runc.v2", ""];
        let Some(node) = service.get("runtime") else {
            return;
        };
        let text = node.as_str().unwrap_or_default();
        if !OWN.contains(&text) {
            let title = format!("the runtime `{text}` is not supported");
            let help = "remove it: containers run under wharfie's own runtime";
            self.problems.unsupported(node.span, title).set_help(help);
        }
    }

    fn service(
        &mut self,
        name: &str,
        node: &Node,
        secrets: &Contents,
        configs: &Contents,
    ) -> ServiceSpec {
        self.runtime(node);
        let model = self.model;
        let exists = |name: &str| {
            model
                .get("services")
                .is_some_and(|it| it.get(name).is_some())
        };
        ServiceSpec {
            name: name.to_owned(),
            container: Arc::new(self.container(name, node)),
            mode: deploy::mode(node),
            container_name: text(node, "container_name"),
            depends_on: deploy::dependencies(node, &exists),
            restart: self.restart_policy(node),
            update: deploy::update_config(node, "update_config"),
            rollback: deploy::update_config(node, "rollback_config"),
            endpoint_mode: deploy::endpoint_mode(node),
            placement: self.placement(node),
            labels: node
                .get("deploy")
                .map(|it| text_map(it, "labels"))
                .unwrap_or_default(),
            attach: node.get_bool("attach").unwrap_or(true),
            content_digest: files::digest(node, secrets, configs),
            pre_start_of: None,
        }
    }
}
