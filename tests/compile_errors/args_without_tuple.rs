// error: `Args<String>` does not list the arguments of a hub method
// `Args` takes a tuple of at most eight types, also for a single argument: `Args((room,)): Args<(String,)>`

use hubcast::{Args, Hub, HubError};

async fn echo(Args(text): Args<String>) -> Result<String, HubError> {
    Ok(text)
}

pub fn hub() -> Hub {
    Hub::new("chat").method("Echo", echo)
}
