//! `[answer.fields]`: the fields of an answer, a type or a table each.

use super::choices::wrong_count;
use super::file::{Node, Value, in_order};
use super::reader::Reader;
use crate::work::answer::{FieldSpec, JsonAnswer, Several, of_fields};

impl Reader<'_> {
    pub(super) fn fields(&mut self) -> Option<JsonAnswer> {
        let table = self.table("answer.fields")?;
        let before = self.mistakes.len();
        let mut fields = Vec::new();
        for (name, node) in in_order(table) {
            if let Some(field) = self.field(name, node) {
                fields.push(field);
            }
        }
        if table.is_empty() {
            let advice = self.suggestion("answer.fields");
            self.refuse("answer.fields", "`answer.fields` is empty".into(), advice);
        }
        if self.mistakes.len() > before {
            return None;
        }
        match of_fields(&fields) {
            Ok(answer) => Some(answer),
            Err((name, why)) => {
                let at = table.get(&name).map(|node| node.at.clone())?;
                let problem = format!("`answer.fields.{name}` cannot be used: {why}");
                let advice = "write an SQL type, such as VARCHAR, BIGINT, DECIMAL(12,2), DATE, VARCHAR[] or STRUCT(sku VARCHAR, qty INT)[]";
                self.wrong(&at, problem, advice);
                None
            }
        }
    }

    fn field(&mut self, name: &str, node: &Node) -> Option<FieldSpec> {
        let path = format!("answer.fields.{name}");
        let mut field = FieldSpec {
            name: name.to_owned(),
            ..FieldSpec::default()
        };
        let table = match &node.value {
            Value::Text(type_name) => {
                field.type_name = Some(type_name.clone());
                return Some(field);
            }
            Value::Table(table) => table,
            other => {
                let problem = format!(
                    "`{path}` must be a type or a table, found {}",
                    other.describe()
                );
                self.wrong(&node.at, problem, self.suggestion("answer.fields"));
                return None;
            }
        };
        let before = self.mistakes.len();
        let mut several = Several::default();
        let mut multiple = false;
        for (key, node) in table {
            match (key.as_str(), &node.value) {
                ("type", Value::Text(name)) => field.type_name = Some(name.clone()),
                ("description", Value::Text(text)) => field.description = Some(text.clone()),
                ("nullable", Value::Bool(nullable)) => field.nullable = *nullable,
                ("multiple", Value::Bool(yes)) => multiple = *yes,
                ("min", Value::Integer(n)) if *n >= 0 => several.min = usize::try_from(*n).ok(),
                ("max", Value::Integer(n)) if *n >= 0 => several.max = usize::try_from(*n).ok(),
                ("choices", _) => {
                    let choices = self.choices(&format!("{path}.choices"), node)?;
                    field.choices = choices.words;
                    field.descriptions = choices.descriptions;
                }
                _ => self.wrong_key(&path, key, node),
            }
        }
        let known = multiple.then_some(field.choices.len());
        let bound = ["min", "max"]
            .into_iter()
            .find_map(|name| Some((name, &table.get(name)?.at)));
        if let Some((name, at)) = bound
            && field.choices.is_empty()
        {
            let problem = format!("`{path}.{name}` counts choices, and there are none");
            let advice =
                "bounds of a number are `minimum` and `maximum` of a JSON Schema (`schema_file`)";
            self.wrong(at, problem, advice);
        } else if let Some((name, problem, advice)) = wrong_count(known, several) {
            let at = table.get(name).map_or(&node.at, |node| &node.at);
            self.wrong(at, format!("`{path}.{name}` {problem}"), advice);
        } else if multiple && field.choices.is_empty() {
            let problem = format!("`{path}.multiple` is given, and there are no `choices`");
            let advice = "a list of any words is `VARCHAR[]`";
            self.wrong(&node.at, problem, advice);
        }
        field.multiple = multiple.then_some(several);
        (self.mistakes.len() == before).then_some(field)
    }

    fn wrong_key(&mut self, path: &str, key: &str, node: &Node) {
        let wanted = match key {
            "type" | "description" => "a text",
            "nullable" | "multiple" => "true or false",
            "min" | "max" => "a whole number",
            _ => {
                let problem = format!("unknown key `{path}.{key}`");
                let advice = "a field has `type`, `nullable`, `description`, `choices`, and with them \
                              `multiple`, `min` and `max`";
                return self.wrong(&node.key, problem, advice);
            }
        };
        let found = node.value.describe();
        let problem = format!("`{path}.{key}` must be {wanted}, found {found}");
        self.wrong(&node.at, problem, self.suggestion("answer.fields"));
    }
}
