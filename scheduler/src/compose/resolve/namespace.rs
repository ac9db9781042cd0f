//! Whose namespaces a container uses.

use super::Resolver;
use crate::compose::document::Node;
use crate::model::container::NamespaceMode;

impl Resolver<'_> {
    pub(super) fn namespace(&mut self, service: &Node, key: &str) -> NamespaceMode {
        let Some(node) = service.get(key) else {
            return NamespaceMode::Private;
        };
        let text = node.as_str().unwrap_or_default();
        match (text, text.split_once(':')) {
            ("private" | "", _) => NamespaceMode::Private,
            ("host", _) => NamespaceMode::Host,
            ("shareable", _) => NamespaceMode::Shareable,
            (_, Some(("service", name))) => {
                let known = self
                    .model
                    .get("services")
                    .is_some_and(|it| it.get(name).is_some());
                if !known {
                    self.problems.error(
                        node.span,
                        format!("`{key}` names the service `{name}`, which does not exist"),
                    );
                }
                NamespaceMode::Service(name.to_owned())
            }
            (_, Some(("container", name))) => NamespaceMode::Container(name.to_owned()),
            _ => {
                let title = format!("`{key}` cannot be `{text}`");
                let help =
                    "write `host`, `private`, `shareable`, `service:NAME` or `container:NAME`";
                self.problems.error(node.span, title).set_help(help);
                NamespaceMode::Private
            }
        }
    }
}
