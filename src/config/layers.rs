//! What was set, where: file, environment and flags in one tree, whose leaves know where they come from.

use std::path::Path;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::{Environment, Faults, Flags, faults::bare};

/// The file that is read if it is there.
const USUAL_FILE: &str = "hubcast.toml";

const PREFIX: &str = "HUBCAST_";

/// Merges all layers, the later over the earlier. A file that cannot be read is a fault, and the rest goes on.
pub(super) fn merge(flags: &Flags, environment: &Environment) -> (Value, Faults) {
    let mut tree = Value::from(Map::<String, Value>::new());
    let mut faults = Faults::default();
    let path = flags.config.as_deref().unwrap_or(Path::new(USUAL_FILE));
    let name = path.display().to_string();
    let file = File::from(path).format(FileFormat::Toml).required(flags.config.is_some()).collect();
    let file = file.unwrap_or_else(|error| {
        faults.add(&name, None, explain(&error));
        Map::new()
    });
    for layer in [Given::in_file(file, &name), Given::by_environment(environment), Given::by_flags(flags)] {
        layer.collect_to(&mut tree).unwrap_or_else(|error| faults.add("", None, bare(&error)));
    }
    (tree, faults)
}

fn explain(error: &ConfigError) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => bare(other),
    }
}

/// Keys with their values, each of which says who has set it.
#[derive(Clone, Debug)]
struct Given(Map<String, Value>);

impl Given {
    /// The crate names a file by its way from here, which may be a long one.
    fn in_file(tree: Map<String, Value>, name: &String) -> Self {
        Self(tree.into_iter().map(|(key, value)| (key, stamp(value, name))).collect())
    }

    fn by_environment(environment: &Environment) -> Self {
        let ours = environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
        let given = ours.map(|(name, key, value)| {
            (key.to_lowercase().replace("__", "."), Value::new(Some(name), ValueKind::String(value.clone())))
        });
        Self(given.collect())
    }

    fn by_flags(flags: &Flags) -> Self {
        let given = flags.given().map(|(flag, key, value)| {
            (key.to_owned(), Value::new(Some(&flag.to_owned()), ValueKind::String(value.to_owned())))
        });
        Self(given.collect())
    }
}

/// Says of every value where it comes from.
fn stamp(value: Value, origin: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, stamp(value, origin))).collect())
        }
        ValueKind::Array(array) => ValueKind::Array(array.into_iter().map(|value| stamp(value, origin)).collect()),
        plain => plain,
    };
    Value::new(Some(origin), kind)
}

impl Source for Given {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
