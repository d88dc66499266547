// error: type annotations needed
// cannot infer type of the type parameter `ParameterTypes` declared on the method `method`
// a closure states the types of its parameters

use hubcast::{Args, Hub, HubError};

pub fn hub() -> Hub {
    Hub::new("chat").method("Join", async |groups, Args((room,))| Ok::<_, HubError>(()))
}
