//! Images whose version nobody chose.

use super::known::Reference;
use super::{Linter, Rule, Service};

impl Linter<'_> {
    pub(super) fn image(&mut self, service: &Service<'_>) {
        let Some((image, span)) = service.image().and_then(|it| Some((it.as_str()?, it.span)))
        else {
            return;
        };
        // Whoever sets the variable has chosen; what is built here has the version of its sources;
        // and a policy says that the tag is meant to move.
        let chosen = self.problems.is_filled(span)
            || service.is_built()
            || service.node.get("pull_policy").is_some();
        let reference = Reference::parse(image);
        if chosen || image.is_empty() || reference.digest.is_some() {
            return;
        }
        let title = match reference.tag {
            None => format!("image `{image}` has no tag, which means `latest`"),
            Some("latest") => {
                format!("image `{image}` is whatever `latest` was when it was pulled")
            }
            Some(_) => return,
        };
        let help = format!(
            "name the version you have tried, such as `{}:1.2`",
            reference.repository
        );
        if let Some(it) = self.warn(service, Rule::UnpinnedImage, span, title) {
            it.set_help(help);
        }
    }
}
