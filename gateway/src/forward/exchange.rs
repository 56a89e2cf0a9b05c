//! A permitted request on its way to the engine, and the answer on its way to the client.
//!
//! What was judged goes on as it was judged. The content of a Binary passes in pieces, held to its limit and pace; where it
//! stands inside the resource, the pieces are judged as they pass and the end goes on only after all was permitted. An
//! answer passes in pieces too: the client that reads slowly slows the engine down, nothing piles up here.

use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header;
use pingora::proxy::Session;
use pingora::{Error, ErrorType};

use super::Gateway;
use super::engine::{EngineAnswer, EngineError, Upload};
use super::judge::Passing;
use super::proxy::Context;
use crate::listen::Connection;
use crate::request::{BodyRefusal, Pace, read_piece};
use crate::respond::Answer;

/// What passes.
pub(super) enum Content {
    /// Content that nobody looks at.
    Raw { length: Option<u64> },
    /// A Binary in its FHIR form.
    Passing(Box<Passing>),
}

/// Why content did not get to the engine.
enum Failed {
    /// By the client, or by its bounds.
    Content(BodyRefusal),
    /// It was judged.
    Refused(Answer),
    Engine(EngineError),
}

impl Gateway {
    /// Sends a request with its judged body, or none, to the engine and the answer to the client.
    pub(super) async fn exchange(
        &self,
        session: &mut Session,
        context: &mut Context,
        body: &Bytes,
    ) -> pingora::Result<()> {
        let patience = context.basis.limits.upstream;
        let head = context.head()?;
        match self.engine.send(head, body, patience).await {
            Ok(answer) => self.relay(session, context, answer, patience).await,
            Err(error) => self.engine_failed(session, context, &error).await,
        }
    }

    /// Passes content on as it comes, then the answer to the client.
    pub(super) async fn stream(
        &self,
        session: &mut Session,
        context: &mut Context,
        connection: &Connection,
        content: Content,
    ) -> pingora::Result<()> {
        let patience = context.basis.limits.upstream;
        // Without a length the engine sees the end only when it is sent, that is when all was judged.
        let length = match &content {
            Content::Raw { length } => *length,
            Content::Passing(_) => None,
        };
        let upload = match self.engine.begin(context.head()?, length, patience).await {
            Ok(upload) => upload,
            Err(error) => return self.engine_failed(session, context, &error).await,
        };
        match self.pass_content(session, context, connection, content, upload).await {
            Ok(answer) => self.relay(session, context, answer, patience).await,
            Err(Failed::Engine(error)) => self.engine_failed(session, context, &error).await,
            Err(Failed::Content(refusal)) => {
                context.failure = Some(refusal.to_string());
                let answer = Answer::empty(refusal.status(), refusal.code()).closing();
                self.answer(session, context, answer).await
            }
            Err(Failed::Refused(answer)) => {
                context.failure = Some(format!("body is refused: {}", answer.code));
                self.answer(session, context, answer.closing()).await
            }
        }
    }

    async fn pass_content(
        &self,
        session: &mut Session,
        context: &Context,
        connection: &Connection,
        mut content: Content,
        mut upload: Upload,
    ) -> Result<EngineAnswer, Failed> {
        let limits = &context.basis.limits;
        let patience = limits.upstream;
        let limit = limits.body.of(Some(fhir::ResourceType::Binary));
        let mut left = limit;
        let mut pace = Pace::new(Instant::now());
        while let Some(piece) = read_piece(session, limits.body_idle).await.map_err(Failed::Content)? {
            // As a chunk it would be the end.
            if piece.is_empty() {
                continue;
            }
            left = left.checked_sub(piece.len() as u64).ok_or(Failed::Content(BodyRefusal::TooLarge(limit)))?;
            if !pace.is_kept(piece.len(), Instant::now()) {
                return Err(Failed::Content(BodyRefusal::TimedOut));
            }
            if let Content::Passing(passing) = &mut content {
                Self::judge_part(passing, &piece).map_err(Failed::Refused)?;
            }
            if !upload.pass(&piece, patience).await.map_err(Failed::Engine)? {
                return upload.finish(false, patience).await.map_err(Failed::Engine);
            }
        }
        if let Content::Passing(passing) = content {
            self.judge_whole(*passing, connection).map_err(Failed::Refused)?;
        }
        upload.finish(true, patience).await.map_err(Failed::Engine)
    }

    async fn engine_failed(
        &self,
        session: &mut Session,
        context: &mut Context,
        error: &EngineError,
    ) -> pingora::Result<()> {
        tracing::warn!(correlation_id = %context.correlation_id, %error, "engine did not take the request");
        let answer = match error {
            EngineError::Connect(_) => Answer::unavailable("GW-LINK-003"),
            EngineError::TimedOut => Answer::empty(504, "GW-LINK-004"),
            EngineError::Connection(_) | EngineError::Answer(_) => Answer::empty(502, "GW-LINK-005"),
        };
        context.failure = Some(error.to_string());
        self.answer(session, context, answer).await
    }

    /// Sends the answer of the engine to the client.
    async fn relay(
        &self,
        session: &mut Session,
        context: &mut Context,
        mut answer: EngineAnswer,
        patience: Duration,
    ) -> pingora::Result<()> {
        if let Err(refused) = self.wait_for_record(context).await {
            return self.answer(session, context, refused).await;
        }
        let mut head = std::mem::take(&mut answer.head).ok_or_else(|| Error::new(ErrorType::InternalError))?;
        Self::finish_head(&mut head, context)?;
        let mut ended = answer.is_complete();
        if !ended && answer.length().is_none() && !session.is_http2() {
            head.insert_header(header::TRANSFER_ENCODING, header::HeaderValue::from_static("chunked"))?;
        }
        session.write_response_header(head, ended).await?;
        while let Some(piece) = answer.piece(patience).await.map_err(broken_answer)? {
            ended = answer.is_complete();
            session.write_response_body(Some(piece), ended).await?;
        }
        if !ended {
            session.write_response_body(None, true).await?;
        }
        Ok(())
    }
}

/// The head of the answer is with the client, so all that can be said is that the rest does not come.
fn broken_answer(error: EngineError) -> Box<Error> {
    let kind = match error {
        EngineError::TimedOut => ErrorType::ReadTimedout,
        EngineError::Connect(_) | EngineError::Connection(_) | EngineError::Answer(_) => ErrorType::ReadError,
    };
    Error::because(kind, "answer of the engine", error).into_up()
}
