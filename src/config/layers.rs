//! Merges the file, the environment and the flags into one tree, in which every value has its origin.

use std::path::Path;

use config::{ConfigError, File, FileFormat, Map, Source, Value, ValueKind};

use super::{Environment, Faults, Flags, faults::error_text};

/// The file that is read by default, if it exists.
const DEFAULT_FILE: &str = "hubcast.toml";

const PREFIX: &str = "HUBCAST_";

/// Merges all layers; a later layer overrides an earlier one. A file that cannot be read is a fault, and the other
/// layers are still merged.
pub(super) fn merge(flags: &Flags, environment: &Environment) -> (Value, Faults) {
    let mut tree = Value::from(Map::<String, Value>::new());
    let mut faults = Faults::default();
    let path = flags.config.as_deref().unwrap_or(Path::new(DEFAULT_FILE));
    let name = path.display().to_string();
    let file = File::from(path).format(FileFormat::Toml).required(flags.config.is_some()).collect();
    let file = file.unwrap_or_else(|error| {
        faults.add(&name, None, file_error_text(&error));
        Map::new()
    });
    for layer in [Layer::from_file(file, &name), Layer::from_environment(environment), Layer::from_flags(flags)] {
        layer.collect_to(&mut tree).unwrap_or_else(|error| faults.add("", None, error_text(&error)));
    }
    (tree, faults)
}

fn file_error_text(error: &ConfigError) -> String {
    match error {
        ConfigError::FileParse { cause, .. } => cause.to_string(),
        other => error_text(other),
    }
}

/// The settings of one source. Every value has its origin.
#[derive(Clone, Debug)]
struct Layer(Map<String, Value>);

impl Layer {
    /// Sets the origin to `name`, because the `config` crate uses a relative path, which can be long.
    fn from_file(tree: Map<String, Value>, name: &String) -> Self {
        Self(tree.into_iter().map(|(key, value)| (key, with_origin(value, name))).collect())
    }

    fn from_environment(environment: &Environment) -> Self {
        let own = environment.iter().filter_map(|(name, value)| Some((name, name.strip_prefix(PREFIX)?, value)));
        let settings = own.map(|(name, key, value)| {
            (key.to_lowercase().replace("__", "."), Value::new(Some(name), ValueKind::String(value.clone())))
        });
        Self(settings.collect())
    }

    fn from_flags(flags: &Flags) -> Self {
        let settings = flags.settings().map(|(flag, key, value)| {
            (key.to_owned(), Value::new(Some(&flag.to_owned()), ValueKind::String(value.to_owned())))
        });
        Self(settings.collect())
    }
}

/// Sets the origin of a value and of all values in it.
fn with_origin(value: Value, origin: &String) -> Value {
    let kind = match value.kind {
        ValueKind::Table(table) => {
            ValueKind::Table(table.into_iter().map(|(key, value)| (key, with_origin(value, origin))).collect())
        }
        ValueKind::Array(array) => {
            ValueKind::Array(array.into_iter().map(|value| with_origin(value, origin)).collect())
        }
        scalar => scalar,
    };
    Value::new(Some(origin), kind)
}

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}
