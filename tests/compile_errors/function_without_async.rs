// error: a hub method must be async, but this one returns `Result<String, HubError>`
// write `async fn` for a function, and `async |…|` for a closure

use hubcast::{Hub, HubError};

fn hello() -> Result<String, HubError> {
    Ok("hello".to_owned())
}

pub fn hub() -> Hub {
    Hub::new("greeter").method("Hello", hello)
}
