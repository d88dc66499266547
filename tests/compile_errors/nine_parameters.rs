// error: {add}` cannot be a hub method
// a hub method is an async function or closure with at most eight parameters
// one parameter takes all arguments of the client: `Args((room, text)): Args<(String, String)>`

use hubcast::{Hub, HubError};

#[allow(clippy::too_many_arguments)]
async fn add(_: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8, _: u8) -> Result<u8, HubError> {
    Ok(0)
}

pub fn hub() -> Hub {
    Hub::new("calculator").method("Add", add)
}
