//! The service executable: parses the command line, reads the configuration and runs the service.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use allocator::MiMalloc;
use anyhow::Context;
use clap::Parser;
use env_logger::Env;
use futures_util::StreamExt;
use hubcast::{
    config::{self, Flags, Settings},
    server::{self, Listeners, Service},
};
use log::{LevelFilter, error};

/// glibc's allocator keeps most of the memory of clients that have left; mimalloc can return it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The log filter unless `RUST_LOG` is set. `actix_http` is off, because it logs every invalid HTTP request, so any
/// client could fill the log. `sqlx` logs each table that exists at the start, and each connection that a database ends.
const DEFAULT_LOG_FILTER: &str = "info,actix_server=warn,actix_http=off,sqlx=warn";

/// The exit code for an invalid configuration or command line, as shells use it.
const USAGE_ERROR: u8 = 2;

fn main() -> ExitCode {
    allocator::return_freed_memory_at_once();
    let flags = Flags::parse();
    let mut logger = env_logger::Builder::from_env(Env::default().default_filter_or(DEFAULT_LOG_FILTER));
    // At `trace`, the driver of databases writes their addresses with the passwords. It writes nothing between `warn` and
    // `trace`. `debug` here would make each crate of the process compare its own `debug` lines with the filter.
    logger.filter_module("sea_orm", LevelFilter::Warn).init();
    let settings = match Settings::read(&flags, &config::environment()) {
        Ok(settings) => settings,
        Err(faults) => {
            // If stderr is closed, there is no other place to report the faults.
            let _ = writeln!(io::stderr(), "{faults}");
            return ExitCode::from(USAGE_ERROR);
        }
    };
    match actix_web::rt::System::new().block_on(serve(&settings, flags)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            error!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(settings: &Settings, flags: Flags) -> anyhow::Result<()> {
    // Order: first, so that a signal during the start neither ends the process nor is lost.
    let (mut stop, reload) = (Box::pin(server::stop_signal()?), server::reload_signals()?);
    let reload = reload.map(move |()| Settings::read(&flags, &config::environment()));
    let listeners = Listeners::bind(settings)?;
    let service = tokio::select! {
        service = Service::open(settings) => service?,
        () = &mut stop => return Ok(()),
    };
    let welcome = server::startup_message(settings, &listeners)?;
    io::stdout().write_all(welcome.as_bytes()).context("standard output")?;
    Ok(server::run(listeners, service, stop, reload).await?)
}
