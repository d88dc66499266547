//! Internals for benchmarks and tests, without any promise of stability.

mod echo;

pub use echo::echo;

pub use crate::{
    aspnetcore::decoder_checks::{
        core_json, core_message_pack, handshake, negotiate_query, raw_input, session_input, stateful_reconnect,
    },
    classic::decoder_checks::{classic_message, classic_query},
    connections::{ConnectionHandle, Connections},
    engine::CrashTarget,
    groups::GroupDirectory,
    message::{Source, WireForm},
    outbox::{
        ChannelFilter, DeferredField, End, FlushScheduler, FrameFields, Framer, Outbox, OutboxReader, Progress, Push,
        ReadStep, Resume, SharedMessage, Sink, Unsent,
    },
    transport::FrameType,
};

use crate::Engine;

/// The directory of live connections.
#[must_use]
pub fn connections(engine: &Engine) -> &Connections {
    engine.connections()
}

/// The directory of groups.
#[must_use]
pub fn groups(engine: &Engine) -> &GroupDirectory {
    engine.groups()
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    type Check = fn(&[u8]);

    /// The checks of the decoders, by the names of their fuzz targets.
    const CHECKS: [(&str, Check); 9] = [
        ("classic_message", classic_message),
        ("classic_query", classic_query),
        ("core_json", core_json),
        ("core_message_pack", core_message_pack),
        ("handshake", handshake),
        ("negotiate_query", negotiate_query),
        ("raw_input", raw_input),
        ("session_input", session_input),
        ("stateful_reconnect", stateful_reconnect),
    ];

    fn files(folder: &str) -> Vec<std::path::PathBuf> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz").join(folder);
        let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
    }

    #[test]
    fn seeds_of_fuzz_targets_pass_their_checks() {
        for (target, check) in CHECKS {
            let seeds = files(&format!("seeds/{target}"));
            assert!(seeds.len() >= 10, "{target}");
            for seed in seeds {
                println!("{}", seed.display());
                check(&fs::read(seed).unwrap());
            }
        }
    }

    #[test]
    fn every_fuzz_target_has_a_check() {
        let targets: Vec<_> = files("targets").iter().map(|file| file.file_stem().unwrap().to_owned()).collect();
        assert_eq!(targets, CHECKS.map(|(target, _)| target));
    }
}
