//! The callbacks that Envoy calls, and nothing else. The packing step gives each `tollgate_on_…` its name in the ABI,
//! `proxy_on_…`, in place of the one that the SDK's dispatcher exports.
//!
//! That dispatcher is left out because it panics on answers that it does not know (an answer to a call that was made
//! for all who wait belongs to no single request), and because every callback costs. A request makes four here, five with
//! an answer that has a body: two that decide, and one each for headers and body of the answer and for the end, which
//! return at once unless the request is limited or has to be paid for. The host cannot be asked to call them for those alone.

#![expect(unsafe_code, reason = "exported names are part of the ABI")]

use core::cell::RefCell;

use crate::{
    plugin::Flow,
    vm::{self, Vm},
};

thread_local! {
    static VM: RefCell<Vm> = RefCell::new(Vm::default());
}

/// Runs with the VM's state; `None` if it is in use, which only a host that calls back in the middle of a call can do.
fn with_vm<T>(run: impl FnOnce(&mut Vm) -> T) -> Option<T> {
    VM.with(|vm| vm.try_borrow_mut().ok().map(|mut vm| run(&mut vm)))
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_context_create(context: u32, root: u32) {
    with_vm(|vm| vm.created(context, root));
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_configure(root: u32, size: usize) -> u32 {
    with_vm(|vm| u32::from(vm.configure(root, size))).unwrap_or(0)
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_tick(root: u32) {
    with_vm(|vm| vm.tick(root));
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_request_headers(context: u32, _number: u32, _end_of_stream: u32) -> u32 {
    match with_vm(|vm| vm.request(context)).unwrap_or_else(vm::shut) {
        Flow::Continue => 0,
        Flow::Pause => 1,
    }
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_response_headers(context: u32, _number: u32, _end_of_stream: u32) -> u32 {
    with_vm(|vm| vm.answer(context));
    0
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_response_body(context: u32, size: usize, _end_of_stream: u32) -> u32 {
    with_vm(|vm| vm.answer_body(context, size));
    0
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_response_trailers(context: u32, _number: u32) -> u32 {
    with_vm(|vm| vm.answer_trailers(context));
    0
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_delete(context: u32) {
    with_vm(|vm| vm.ended(context));
}

#[unsafe(no_mangle)]
extern "C" fn tollgate_on_http_call_response(root: u32, token: u32, headers: u32, body_size: usize, _trailers: u32) {
    with_vm(|vm| vm.call_answered(root, token, headers, body_size));
}
