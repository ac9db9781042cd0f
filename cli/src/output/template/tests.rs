use serde_json::json;

use super::*;

fn rows() -> Vec<Value> {
    vec![
        json!({"Name": "shop-web-1", "RunningFor": "2 hours ago", "ExitCode": 0, "Publishers": [{"URL": "0.0.0.0"}]}),
        json!({"Name": "shop-db-1", "RunningFor": "About a minute ago", "ExitCode": 3, "Publishers": []}),
    ]
}

#[track_caller]
fn check(format: &str, expected: &str) {
    let printed = match format.parse() {
        Ok(RowFormat::Lines(template)) => lines(&template, &rows()),
        Ok(RowFormat::TableOf(template)) => table(&template, &rows()),
        Ok(RowFormat::Table | RowFormat::Json) => Ok("all".to_owned()),
        Err(error) => Err(error),
    };
    assert_eq!(
        printed.unwrap_or_else(|error| format!("error: {error}")),
        expected
    );
}

#[test]
fn rows_are_printed_as_the_template_says() {
    check("{{.Name}}", "shop-web-1\nshop-db-1\n");
    check(
        "{{ .Name }} ({{.ExitCode}})",
        "shop-web-1 (0)\nshop-db-1 (3)\n",
    );
    check("{{json .Publishers}}", "[{\"URL\":\"0.0.0.0\"}]\n[]\n");
    check("table", "all");
    check("json", "all");
}

#[test]
fn a_table_has_the_fields_as_its_header() {
    check(
        r"table {{.Name}}\t{{.RunningFor}}",
        "NAME         RUNNING FOR\nshop-web-1   2 hours ago\nshop-db-1    About a minute ago\n",
    );
}

#[test]
fn what_is_not_understood_is_refused_by_name() {
    check(
        "{{range .Publishers}}x{{end}}",
        "error: {{range .Publishers}} is not understood: only {{.Field}} and {{json .Field}} are",
    );
    check("{{.Name", "error: `{{` has no `}}` after it");
    check(
        "yaml",
        "error: use table, json, or a template with fields such as {{.Name}}",
    );
    check(
        "{{.Nmae}}",
        "error: there is no field Nmae: use one of ExitCode, Name, Publishers, RunningFor",
    );
}
