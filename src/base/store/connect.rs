//! Connections of the stores, made on the runtime of connections.

use async_trait::async_trait;
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse, HttpService,
    ReqwestConnector,
};

use crate::base::IoRuntime;

/// Makes clients whose connections live on a runtime of their own. What comes back is read from there
/// piece by piece, so that a slow reader holds up the sender and not memory, as it would with
/// `object_store`'s own `SpawnedReqwestConnector`.
#[derive(Clone, Debug)]
pub(super) struct OnIoRuntime(pub(super) IoRuntime);

impl HttpConnector for OnIoRuntime {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        Ok(HttpClient::new(Client {
            client: ReqwestConnector::default().connect(options)?,
            io: self.0.clone(),
        }))
    }
}

#[derive(Debug)]
struct Client {
    client: HttpClient,
    io: IoRuntime,
}

#[async_trait]
impl HttpService for Client {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let client = self.client.clone();
        let call = self.io.spawn(async move { client.execute(request).await });
        let ended = call.await;
        ended.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?
    }
}
