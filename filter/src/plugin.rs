//! One configured plugin in one VM: its decision, its paused requests, its calls. It acts on what the core says and
//! owns no rule of its own.

use std::{collections::BTreeMap, rc::Rc};

use tollgate_core::{
    credits,
    engine::{self, Call, Engine, Now, Seeds, Settled, Step, SubjectKey, Turn, Until, Wait},
    request::{Pairs, RequestView},
    respond::{HeaderPlan, Reply, Verdict},
};
use tollgate_protocol::{
    Code,
    config::PluginConfig,
    credits::{LEASES_PATH, USAGE_PATH},
    edge,
    limits::LIMITS_PATH,
    refusals::REFUSALS_PATH,
};

use crate::{
    answers::Answers,
    crypto,
    host::{self, BufferType, LogLevel, MapType},
    metering::Metering,
    metrics::Metrics,
    share::Follower,
    sync::{self, Sync},
    waiting::{Waiter, Waiting},
    world::HostWorld,
};

/// How often a plugin looks for news, in milliseconds.
pub(crate) const TICK_MS: u32 = 100;
/// How long after the answer to a poll the next one is sent, in milliseconds. Within the answer's own callback Envoy has not
/// taken its connection back yet, and would open another one for the next poll: each Envoy would hold two.
const SOON_MS: u32 = 1;
/// Bound on `resolve`, in milliseconds.
const RESOLVE_TIMEOUT_MS: u32 = 2_000;
/// Bound on calls about leases and use, in milliseconds.
const CREDITS_TIMEOUT_MS: u32 = 1_000;
/// Bound on reports about limits, in milliseconds.
const LIMITS_TIMEOUT_MS: u32 = 1_000;
/// A request that waits for an identity gives up a little after the call has, in milliseconds.
const IDENTITY_HOLD_MS: u64 = 2_500;

/// What the host does with a request after a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Flow {
    Continue,
    Pause,
}

/// One plugin.
#[derive(Debug)]
pub(crate) struct Plugin {
    root: u32,
    config: PluginConfig,
    engine: Engine,
    world: HostWorld,
    metrics: Metrics,
    follower: Follower,
    sync: Sync,
    waiting: Waiting,
    answers: Answers,
    resolves: BTreeMap<u32, SubjectKey>,
    metering: Metering,
    lease_call: Option<u32>,
    usage_call: Option<u32>,
    refusals_call: Option<u32>,
    /// Whose requests have ended that had tokens set aside.
    freed: Vec<Rc<str>>,
    limits_call: Option<u32>,
    announced: bool,
    /// The next tick comes early.
    hurries: bool,
}

impl Plugin {
    /// Starts a plugin. It is warm at once if another VM of this Envoy has settings. `None` without randomness.
    pub(crate) fn start(root: u32, config: PluginConfig) -> Option<Self> {
        let mut random = [0; 56];
        if !host::random(&mut random) {
            return None;
        }
        let (nonce, rest) = random.split_first_chunk::<16>()?;
        let mut words = rest.chunks_exact(8).filter_map(|word| word.try_into().ok().map(u64::from_le_bytes));
        let hash = [words.next()?, words.next()?, words.next()?, words.next()?];
        let seeds = Seeds { hash, nonce: *nonce };
        let native = config.native_crypto && crypto::native_works();
        let mut engine = Engine::new(&config, seeds);
        let namespace = engine.sealer().namespace(&config.control_plane.cluster);
        let mut plugin = Self {
            root,
            engine,
            world: HostWorld::new(namespace, native),
            metrics: Metrics::new(),
            follower: Follower::default(),
            sync: Sync::new(words.next()?),
            waiting: Waiting::default(),
            answers: Answers::default(),
            resolves: BTreeMap::new(),
            metering: Metering::default(),
            lease_call: None,
            usage_call: None,
            refusals_call: None,
            freed: Vec::new(),
            limits_call: None,
            announced: false,
            hurries: false,
            config,
        };
        plugin.metrics.native_in_use(plugin.world.is_native());
        plugin.catch_up(Now(host::now_ms()));
        Some(plugin)
    }

    /// Time passes: leadership, news, deadlines.
    pub(crate) fn tick(&mut self) {
        let now = Now(host::now_ms());
        if core::mem::take(&mut self.hurries) {
            host::tick_every(TICK_MS);
        }
        let leads =
            self.sync.tick(&mut self.engine, &self.world, &self.config.control_plane, self.follower.is_broken(), now);
        self.look_around(leads, now);
    }

    /// Applies news, and sees to all that waits for time to pass.
    fn look_around(&mut self, leads: bool, now: Now) {
        self.catch_up(now);
        self.engine.tick(now, &self.world);
        self.make_beside(now);
        for user in core::mem::take(&mut self.freed) {
            self.again_for_credits(&user, now);
        }
        let (unpaid, overdue): (Vec<_>, Vec<_>) =
            self.waiting.overdue(now).into_iter().partition(|waiter| waiter.credits_deadline().is_some());
        self.again(unpaid, Turn::Unpaid, now);
        self.again(overdue, Turn::Last, now);
        self.ask_for_credits(true, now);
        self.tell_refusals(now);
        self.metrics.native_checks(self.world.take_native_checks());
        if leads {
            self.announce();
            self.metrics.heard(self.follower.heard_ms / 1000);
        }
        self.metrics.memory(self.engine.cached());
    }

    /// Says once how signatures are checked: only the VM that leads does, for all of them.
    fn announce(&mut self) {
        if core::mem::replace(&mut self.announced, true) {
            return;
        }
        let native = "Envoy's native verifier (RS*, ES*), in Rust for the rest";
        let verifier = if self.world.is_native() { native } else { "the filter in Rust" };
        host::log(LogLevel::Info, &format!("tollgate: signatures are checked by {verifier}"));
    }

    fn catch_up(&mut self, now: Now) {
        if self.follower.catch_up(&mut self.engine, &self.world, now) {
            let waiters = self.waiting.for_settings();
            self.again(waiters, Turn::Again, now);
        }
    }

    /// The headers of an answer are there: what counts in them is read, and what was kept for it is told.
    pub(crate) fn answer(&mut self, context: u32) {
        self.metering.headers(context);
        for (name, value) in self.answers.take(context) {
            host::set_answer_header(name, &value);
        }
    }

    /// A new request.
    pub(crate) fn request(&mut self, context: u32) -> Flow {
        self.turn(context, Turn::First, None, Now(host::now_ms()))
    }

    /// Lets paused requests take another turn.
    fn again(&mut self, waiters: Vec<Waiter>, turn: Turn<'_>, now: Now) {
        if waiters.is_empty() {
            return;
        }
        for waiter in waiters {
            // A client that left took its request with it.
            if host::switch_to(waiter.context)
                && self.turn(waiter.context, turn, waiter.credits_deadline(), now) == Flow::Continue
            {
                host::resume_request();
            }
        }
        let _ = host::switch_to(self.root);
    }

    fn again_for_credits(&mut self, user: &str, now: Now) {
        let waiters = self.waiting.for_credits(user);
        self.again(waiters, Turn::Paying, now);
    }

    /// Sends what is to be sent about leases and use. `everybody`: also for whom nobody waits.
    fn ask_for_credits(&mut self, everybody: bool, now: Now) {
        let control = &self.config.control_plane;
        let wallet = self.engine.wallet();
        if self.lease_call.is_none()
            && let Some(request) = wallet.lease_call(everybody, now.0)
        {
            let body = serde_json::to_vec(&request).unwrap_or_default();
            self.lease_call = sync::call(control, "POST", LEASES_PATH, &body, CREDITS_TIMEOUT_MS);
            if self.lease_call.is_none() {
                wallet.leases_answered(None, now.0);
            }
        }
        if everybody
            && self.usage_call.is_none()
            && let Some(report) = wallet.usage_call(now.0)
        {
            let body = serde_json::to_vec(&report).unwrap_or_default();
            self.usage_call = sync::call(control, "POST", USAGE_PATH, &body, CREDITS_TIMEOUT_MS);
            if self.usage_call.is_none() {
                wallet.usage_answered(None, now.0);
            }
        }
    }

    /// Sends what is to be told of refusals.
    fn tell_refusals(&mut self, now: Now) {
        if self.refusals_call.is_none()
            && let Some(report) = self.engine.refusals().due(now.0)
        {
            let body = serde_json::to_vec(&report).unwrap_or_default();
            let control = &self.config.control_plane;
            self.refusals_call = sync::call(control, "POST", REFUSALS_PATH, &body, CREDITS_TIMEOUT_MS);
            if self.refusals_call.is_none() {
                self.engine.refusals().failed(now.0);
            }
        }
    }

    /// The answers of this plugin's requests that have to be paid for.
    pub(crate) fn metering(&mut self) -> &mut Metering {
        &mut self.metering
    }

    /// A context is gone. Others are not let on here, in the middle of its end, but at the next tick.
    pub(crate) fn ended(&mut self, context: u32) {
        let _ = self.answers.take(context);
        if let Some(charge) = self.metering.end(context) {
            let (tokens, user) = self.engine.wallet().settle(charge, host::now_ms());
            self.metrics.spent(tokens);
            if !self.freed.contains(&user) {
                self.freed.push(user);
            }
        }
    }

    /// One turn of the current request. `credits_until`: until when it may wait for tokens, if it has begun to.
    fn turn(&mut self, context: u32, turn: Turn<'_>, credits_until: Option<Now>, now: Now) -> Flow {
        let Some(map) = host::header_map(MapType::HttpRequestHeaders) else {
            return self.refuse(self.engine.refusal(&RequestView::default(), Code::NotReady));
        };
        let Some(pairs) = Pairs::open(&map) else {
            return self.refuse(self.engine.refusal(&RequestView::default(), Code::NotReady));
        };
        let request = RequestView::read(pairs);
        let flow = match self.engine.decide(&request, turn, now, &self.world) {
            Step::Done(verdict) => self.carry_out(context, verdict, &request, now),
            Step::Wait(wait) => self.wait(context, wait, credits_until, &request, now),
        };
        self.make_beside(now);
        flow
    }

    /// Makes the calls that no request waits for.
    fn make_beside(&mut self, now: Now) {
        for call in self.engine.take_beside() {
            let _ = self.make(call, now);
        }
    }

    fn wait(
        &mut self,
        context: u32,
        wait: Wait,
        credits_until: Option<Now>,
        request: &RequestView<'_>,
        now: Now,
    ) -> Flow {
        let after = |milliseconds| Now(now.0.saturating_add(milliseconds));
        let deadline = match wait.until {
            Until::Settings => after(u64::from(self.config.startup_hold_ms)),
            Until::Keys => after(engine::KEYS_HOLD_MS),
            Until::Identity(_) => after(IDENTITY_HOLD_MS),
            // However often it asks again.
            Until::Credits(_) => credits_until.unwrap_or(after(credits::HOLD_MS)),
        };
        let is_for_credits = matches!(wait.until, Until::Credits(_));
        let in_vain = if wait.until == Until::Settings { Code::NotReady } else { Code::IdentityUnavailable };
        let asked = wait.call.is_none_or(|call| self.make(call, now));
        if asked && self.waiting.add(context, wait.until, deadline) {
            if is_for_credits {
                self.ask_for_credits(false, now);
            }
            return Flow::Pause;
        }
        self.carry_out(context, self.engine.refused(request, in_vain), request, now)
    }

    /// Makes a call. `false` when the host refuses it at once.
    fn make(&mut self, call: Call, now: Now) -> bool {
        let control = &self.config.control_plane;
        match call {
            Call::Refresh(issuer) => {
                let body = serde_json::to_vec(&edge::RefreshRequest { issuer }).unwrap_or_default();
                // Its answer is not waited for: newer keys come by sync.
                sync::call(control, "POST", edge::REFRESH_PATH, &body, RESOLVE_TIMEOUT_MS).is_some()
            }
            Call::Limits(report) => {
                let body = serde_json::to_vec(&report).unwrap_or_default();
                self.limits_call = sync::call(control, "POST", LIMITS_PATH, &body, LIMITS_TIMEOUT_MS);
                if self.limits_call.is_none() {
                    self.engine.limits_answered(None, now, &self.world);
                }
                self.limits_call.is_some()
            }
            Call::Resolve(subject, question) => {
                let body = serde_json::to_vec(&question).unwrap_or_default();
                self.metrics.resolve();
                match sync::call(control, "POST", edge::RESOLVE_PATH, &body, RESOLVE_TIMEOUT_MS) {
                    Some(token) => {
                        self.resolves.insert(token, subject);
                        true
                    }
                    None => {
                        // Nobody waits for it yet, or those who do are told by their deadline; new ones may ask again.
                        let _ = self.engine.answered(subject, None, now, &self.world);
                        false
                    }
                }
            }
        }
    }

    /// An answer to one of this plugin's calls. `headers` is 0 when the call failed on its way.
    pub(crate) fn call_answered(&mut self, token: u32, headers: u32, body_size: usize) {
        let now = Now(host::now_ms());
        let body = if headers > 0 { answer_body(body_size) } else { Err("it hung up, or was too slow") };
        if self.sync.is_poll(token) {
            let answer = body.and_then(|body| serde_json::from_slice(&body).map_err(|_| "it speaks another language"));
            match answer {
                Ok(answer) => self.sync.answered(&mut self.engine, &self.world, answer, now),
                Err(why) => {
                    self.metrics.sync_failure();
                    self.sync.failed(why, now);
                }
            }
            // Apply what was published at once, and hold the next poll as soon as its connection is free.
            self.look_around(self.sync.leads(now), now);
            host::tick_every(SOON_MS);
            self.hurries = true;
        } else if let Some(subject) = self.resolves.remove(&token) {
            let answer = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
            match self.engine.answered(subject, answer, now, &self.world) {
                Settled::Ask(call) => {
                    let _ = self.make(call, now);
                }
                Settled::Go(answered) => {
                    let waiters = self.waiting.for_subject(subject);
                    self.again(waiters, Turn::Answered(&answered), now);
                }
            }
        } else if self.lease_call == Some(token) {
            self.lease_call = None;
            let answer = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
            self.metrics.lease_call(answer.is_some());
            for user in self.engine.wallet().leases_answered(answer, now.0) {
                self.again_for_credits(&user, now);
            }
            // What has come up meanwhile.
            self.ask_for_credits(false, now);
        } else if self.usage_call == Some(token) {
            self.usage_call = None;
            let answer = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
            self.engine.wallet().usage_answered(answer, now.0);
        } else if self.limits_call == Some(token) {
            self.limits_call = None;
            let answer = body.ok().and_then(|body| serde_json::from_slice(&body).ok());
            self.metrics.limits_call(answer.is_some());
            self.engine.limits_answered(answer, now, &self.world);
        } else if self.refusals_call == Some(token) {
            self.refusals_call = None;
            match body {
                Ok(_) => self.engine.refusals().arrived(now.0),
                Err(_) => self.engine.refusals().failed(now.0),
            }
        }
    }

    fn carry_out(&mut self, context: u32, verdict: Verdict, request: &RequestView<'_>, now: Now) -> Flow {
        match verdict {
            Verdict::Refuse(reply) => {
                self.engine.note_refusal(request, reply.code, false, now);
                self.refuse(reply)
            }
            Verdict::Forward(mut plan) => {
                let charge = plan.charge.take();
                if !apply(&plan) {
                    if let Some(mut charge) = charge {
                        charge.meter.is_free();
                        let _ = self.engine.wallet().settle(charge, now.0);
                    }
                    // A request whose headers are not as decided must not go on.
                    return self.refuse(self.engine.refusal(request, Code::IdentityUnavailable));
                }
                if let Some(charge) = charge {
                    self.metering.begin(context, charge);
                }
                self.answers.keep(context, plan.answer);
                match plan.shadow {
                    Some(verdict) => {
                        if let Err(code) = verdict {
                            self.engine.note_refusal(request, code, true, now);
                        }
                        self.metrics.watched(verdict.err());
                    }
                    None => self.metrics.allowed(plan.method),
                }
                Flow::Continue
            }
        }
    }

    fn refuse(&mut self, reply: Reply) -> Flow {
        self.metrics.denied(reply.code);
        for (name, value) in reply.facts() {
            host::set_filter_state(name, value);
        }
        let headers: Vec<(&str, &[u8])> = reply.headers().collect();
        if !host::reply(reply.code.status(), reply.code.grpc_status(), reply.code.as_str(), &headers, &reply.body) {
            host::log(LogLevel::Error, "tollgate: the host refused an answer; the request stays paused");
        }
        Flow::Pause
    }
}

/// Changes the current request. `false` when the host refuses a change.
fn apply(plan: &HeaderPlan) -> bool {
    let done = plan.remove.iter().all(|name| host::remove_request_header(name))
        && plan.headers().all(|(name, value)| host::set_request_header(name, value));
    for (name, value) in plan.facts() {
        host::set_filter_state(name, value);
    }
    done
}

/// The body of a call's answer, if its status is 200; else what is wrong, in words for the log.
fn answer_body(size: usize) -> Result<Vec<u8>, &'static str> {
    match host::header(MapType::HttpCallResponseHeaders, ":status").as_deref() {
        Some(b"200") => host::buffer(BufferType::HttpCallResponseBody, size).ok_or("its answer has no body"),
        Some(b"401") => Err("it does not know this edge secret; compare TOLLGATE_EDGE_SECRET with edge_secret"),
        Some(b"503" | b"504") => Err("it cannot be reached, or is not ready"),
        _ => Err("its answer is an error"),
    }
}
