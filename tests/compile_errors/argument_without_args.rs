// error: `String` cannot be a parameter of a hub method
// arguments of the client are wrapped in one `Args`: `Args((room, text)): Args<(String, String)>`

use hubcast::{Groups, Hub, HubError};

async fn join(groups: Groups, room: String) -> Result<(), HubError> {
    groups.join(room).await?;
    Ok(())
}

pub fn hub() -> Hub {
    Hub::new("chat").method("Join", join)
}
