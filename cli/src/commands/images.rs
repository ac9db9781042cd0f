//! `images`: the images that the stack's containers were made from.

use std::collections::BTreeMap;
use std::process::ExitCode;

use jiff::Timestamp;
use serde_json::json;

use super::Outcome;
use super::image::{repository_and_tag, short_id};
use super::ls::Format;
use crate::docker::{self, Container, Image, ImageDetails};
use crate::output::{self, Table, decimal_size};
use crate::project::Context;

/// List the images of the containers
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// Print only ids
    #[arg(short, long)]
    quiet: bool,
    #[arg(long, value_enum, default_value = "table")]
    format: Format,
    /// Services to list [default: all]
    services: Vec<String>,
}

impl Args {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let project = context.project_name()?;
        let Some(client) = context.existing_node().await? else {
            return self.print(&[], &[], &BTreeMap::new());
        };
        let images: Vec<Image> = client.get("/images/json").await?;
        let mut containers = docker::containers(&client, &project).await?;
        containers.retain(|it| {
            self.services.is_empty() || self.services.iter().any(|name| name == it.service())
        });
        let mut details = BTreeMap::new();
        for it in &containers {
            let path = format!("/images/{}/json", it.image_id);
            if !details.contains_key(it.image_id.as_str())
                && let Some(found) = client.find::<ImageDetails>(&path).await?
            {
                details.insert(it.image_id.as_str(), found);
            }
        }
        self.print(&containers, &images, &details)
    }

    fn print(
        &self,
        containers: &[Container],
        images: &[Image],
        details: &BTreeMap<&str, ImageDetails>,
    ) -> Outcome {
        let images: BTreeMap<_, _> = images.iter().map(|it| (it.id.as_str(), it)).collect();
        if self.quiet {
            let ids: std::collections::BTreeSet<_> =
                containers.iter().map(|it| short_id(&it.image_id)).collect();
            ids.into_iter().for_each(output::line);
            return Ok(ExitCode::SUCCESS);
        }
        let now = Timestamp::now();
        let header = [
            "CONTAINER",
            "REPOSITORY",
            "TAG",
            "PLATFORM",
            "IMAGE ID",
            "SIZE",
            "CREATED",
        ];
        let mut table = Table::new(20, &header);
        let mut objects = Vec::new();
        for it in containers {
            let (repository, tag) = repository_and_tag(&it.image);
            let image = images.get(it.image_id.as_str());
            let size = image.map_or(0, |image| image.size);
            let created = image.map_or(0, |image| image.created);
            let details = details.get(it.image_id.as_str());
            let platform = details.map_or_else(String::new, ImageDetails::platform);
            objects.push(json!({
                "ID": it.image_id, "ContainerName": it.name(), "Repository": repository,
                "Tag": tag, "Platform": platform, "Size": size,
                "LastTagTime": details.map(|it| it.metadata.last_tag_time.as_str()),
            }));
            table.row(vec![
                it.name().to_owned(),
                repository,
                tag,
                platform,
                short_id(&it.image_id).to_owned(),
                decimal_size(size),
                format!("{} ago", super::ps::age(created, now)),
            ]);
        }
        match self.format {
            Format::Table => output::result(table.render()),
            Format::Json => output::line(serde_json::Value::Array(objects).to_string()),
        }
        Ok(ExitCode::SUCCESS)
    }
}
