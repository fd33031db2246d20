//! What clients of MQTT publish and subscribe to.

use serde::{Deserialize, Serialize};
use shaddock::{Cluster, Msg, Result, Session};

/// Something published, by a client or to one.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Publish {
    topic: String,
    payload: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    encoding: Option<String>,
    #[serde(skip_serializing)]
    message_id: Option<u16>,
}

impl Publish {
    /// The same to another topic.
    fn to(self, topic: &str) -> Publish {
        Publish { topic: topic.to_owned(), ..self }
    }
}

pub(crate) async fn publish(
    session: Session,
    cluster: Cluster,
    Msg(publish): Msg<Publish>,
) -> Result<Option<Publish>> {
    match publish.topic.as_str() {
        "bind" => {
            session.bind(publish.payload.as_str()).await?;
            let is_asked = publish.message_id.is_some();
            let bound = publish.to("bound");
            if is_asked {
                return Ok(Some(bound));
            }
            // Of QoS 0, which has no answers.
            session.push("bound", &bound)?;
        }
        "push" => cluster.push(&session.uid()?, "pushed", &publish.to("pushed"))?,
        "kick" => session.kick(Some("bye")).await?,
        _ if publish.message_id.is_some() => return Ok(Some(publish.to("reply"))),
        _ => {}
    }
    Ok(None)
}

#[derive(Deserialize)]
pub(crate) struct Subscribe {
    subscriptions: Vec<serde::de::IgnoredAny>,
}

/// Grants QoS 0 for each topic.
pub(crate) async fn subscribe(Msg(subscribe): Msg<Subscribe>) -> Result<Vec<u8>> {
    Ok(vec![0; subscribe.subscriptions.len()])
}
