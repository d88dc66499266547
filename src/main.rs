//! The program: arguments, configuration, service.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use anyhow::Context;
use clap::Parser;
use env_logger::Env;
use hubcast::{
    config::{self, Flags, Settings},
    server::{self, Listeners, Service},
};
use log::error;

/// What is logged unless `RUST_LOG` says otherwise: what we do, and what troubles others. What is no HTTP is the affair of
/// whoever sends it, and would fill the log.
const LOG: &str = "info,actix_server=warn,actix_http=off,sea_orm_migration=warn";

/// The exit code of a configuration or command line that is wrong, as shells have it.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let flags = Flags::parse();
    env_logger::Builder::from_env(Env::default().default_filter_or(LOG)).init();
    let settings = match Settings::read(&flags, &config::environment()) {
        Ok(settings) => settings,
        Err(faults) => {
            // Nobody reads a complaint about a terminal that has gone.
            let _ = writeln!(io::stderr(), "{faults}");
            return ExitCode::from(USAGE);
        }
    };
    match actix_web::rt::System::new().block_on(serve(&settings)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: &Settings) -> anyhow::Result<()> {
    let stop = server::stop_signal()?;
    let listeners = Listeners::bind(settings)?;
    let service = Service::open(settings).await?;
    let welcome = server::welcome(settings, &listeners)?;
    io::stdout().write_all(welcome.as_bytes()).context("standard output")?;
    Ok(server::run(listeners, service, stop).await?)
}
