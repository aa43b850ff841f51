//! Work that goes on beside its owner, and no longer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::stream::{self, Stream};
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinHandle};

/// A spawned future. Dropped, it stops; awaited, it says whether it panicked.
#[derive(Debug)]
#[must_use = "the work goes on only while this lives"]
pub struct Task<T>(pub(super) JoinHandle<T>);

impl<T: Send + 'static> Task<T> {
    /// Runs `work` on the runtime one is in.
    ///
    /// # Panics
    /// Outside of any runtime.
    pub fn spawn(work: impl Future<Output = T> + Send + 'static) -> Self {
        Task(tokio::spawn(work))
    }
}

impl<T> Future for Task<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What `sender` sends, to its end. Then it is asked whether it came to its own end, so that a panic in
/// it is never taken for the end of what it sends; it is dropped with the stream.
pub fn sent_by<T, E, S>(
    receive: mpsc::Receiver<Result<T, E>>,
    sender: S,
    panicked: impl Fn(JoinError) -> E,
) -> impl Stream<Item = Result<T, E>>
where
    S: Future<Output = Result<(), JoinError>> + Unpin,
{
    stream::unfold(
        (receive, Some(sender), panicked),
        |(mut receive, sender, panicked)| async move {
            if let Some(sent) = receive.recv().await {
                return Some((sent, (receive, sender, panicked)));
            }
            let error = panicked(sender?.await.err()?);
            Some((Err(error), (receive, None, panicked)))
        },
    )
}

#[cfg(test)]
mod tests {
    use futures::{StreamExt, TryStreamExt};

    use super::*;

    #[tokio::test]
    async fn a_sender_that_ends_ends_its_stream_and_one_that_panics_fails_it() {
        for panics in [false, true] {
            let (send, receive) = mpsc::channel::<Result<u8, String>>(1);
            let sender = Task::spawn(async move {
                send.send(Ok(1)).await.expect("a reader");
                assert!(!panics, "as the test wants it");
            });
            let sent = sent_by(receive, sender, |error| error.to_string());
            let sent: Vec<_> = sent.collect().await;
            assert_eq!(sent[0], Ok(1));
            assert_eq!(sent.len(), 1 + usize::from(panics));
            assert!(sent[1..].iter().all(Result::is_err));
        }
    }

    #[tokio::test]
    async fn a_task_stops_when_it_is_dropped() {
        let (send, mut receive) = mpsc::channel::<()>(1);
        let task = Task::spawn(async move {
            let _send = send;
            std::future::pending::<()>().await;
        });
        drop(task);
        assert_eq!(receive.recv().await, None, "what the task held is gone");
        let none = sent_by(
            mpsc::channel::<Result<u8, String>>(1).1,
            Task::spawn(async {}),
            |error| error.to_string(),
        );
        assert_eq!(none.try_collect::<Vec<_>>().await, Ok(vec![]));
    }
}
