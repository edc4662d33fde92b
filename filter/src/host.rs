//! Every call to the proxy, and nothing else: raw imports of proxy-wasm ABI 0.2.1 behind safe functions.
//!
//! The SDK's own wrappers are not used, because they panic on any status they do not expect and on any byte that is
//! not UTF-8. Here every status becomes an `Option` or a `bool`, and texts stay bytes. No decision is made here.

#![expect(unsafe_code, reason = "the border to the host is made of raw pointers")]

use core::ptr;

pub(crate) use proxy_wasm::types::{BufferType, LogLevel, MapType, MetricType, Status};

/// `Ok` of the ABI; a status is taken as a number, because a host may answer one that the SDK's enum does not know.
const OK: u32 = Status::Ok as u32;

#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "env"))]
unsafe extern "C" {
    fn proxy_log(level: u32, text: *const u8, size: usize) -> u32;
    fn proxy_get_current_time_nanoseconds(time: *mut u64) -> u32;
    fn proxy_set_tick_period_milliseconds(period: u32) -> u32;
    fn proxy_get_buffer_bytes(kind: u32, start: usize, max: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_pairs(kind: u32, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_get_header_map_value(
        kind: u32,
        name: *const u8,
        name_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_replace_header_map_value(
        kind: u32,
        name: *const u8,
        name_size: usize,
        value: *const u8,
        value_size: usize,
    ) -> u32;
    fn proxy_remove_header_map_value(kind: u32, name: *const u8, name_size: usize) -> u32;
    fn proxy_get_property(path: *const u8, path_size: usize, data: *mut *mut u8, size: *mut usize) -> u32;
    fn proxy_set_property(path: *const u8, path_size: usize, value: *const u8, value_size: usize) -> u32;
    fn proxy_get_shared_data(
        key: *const u8,
        key_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
        cas: *mut u32,
    ) -> u32;
    fn proxy_set_shared_data(key: *const u8, key_size: usize, value: *const u8, value_size: usize, cas: u32) -> u32;
    fn proxy_continue_stream(stream: u32) -> u32;
    fn proxy_send_local_response(
        status: u32,
        details: *const u8,
        details_size: usize,
        body: *const u8,
        body_size: usize,
        headers: *const u8,
        headers_size: usize,
        grpc_status: i32,
    ) -> u32;
    fn proxy_http_call(
        cluster: *const u8,
        cluster_size: usize,
        headers: *const u8,
        headers_size: usize,
        body: *const u8,
        body_size: usize,
        trailers: *const u8,
        trailers_size: usize,
        timeout: u32,
        token: *mut u32,
    ) -> u32;
    fn proxy_set_effective_context(context: u32) -> u32;
    fn proxy_call_foreign_function(
        name: *const u8,
        name_size: usize,
        arguments: *const u8,
        arguments_size: usize,
        data: *mut *mut u8,
        size: *mut usize,
    ) -> u32;
    fn proxy_define_metric(kind: u32, name: *const u8, name_size: usize, id: *mut u32) -> u32;
    fn proxy_increment_metric(id: u32, by: i64) -> u32;
    fn proxy_record_metric(id: u32, value: u64) -> u32;
}

#[cfg_attr(target_arch = "wasm32", link(wasm_import_module = "wasi_snapshot_preview1"))]
unsafe extern "C" {
    fn random_get(buffer: *mut u8, size: usize) -> u16;
}

/// Takes over bytes that the host has put into memory that it got from this module's allocator.
///
/// # Safety
/// `data` and `size` are as the host has written them on success: null, or an allocation of exactly `size` bytes.
unsafe fn take(data: *mut u8, size: usize) -> Vec<u8> {
    if data.is_null() {
        return Vec::new();
    }
    // SAFETY: the SDK's allocator hands out boxed slices of exactly the size asked for.
    unsafe { Vec::from_raw_parts(data, size, size) }
}

/// Runs a call that returns bytes; `None` for every status but `Ok`.
fn returned(call: impl FnOnce(*mut *mut u8, *mut usize) -> u32) -> Option<Vec<u8>> {
    let (mut data, mut size) = (ptr::null_mut(), 0);
    let status = call(&mut data, &mut size);
    // SAFETY: both are untouched (null) or written by the host.
    let bytes = unsafe { take(data, size) };
    (status == OK).then_some(bytes)
}

/// Writes a line to Envoy's log. No secret and no request data may be in it.
pub(crate) fn log(level: LogLevel, text: &str) {
    // SAFETY: pointer and size are of a live slice. A line that cannot be logged is lost, which is all one can do.
    let _ = unsafe { proxy_log(level as u32, text.as_ptr(), text.len()) };
}

/// Unix time in milliseconds; 0 when the host does not say, which lets no token pass.
pub(crate) fn now_ms() -> u64 {
    let mut nanoseconds = 0;
    // SAFETY: the pointer is of a live local.
    let status = unsafe { proxy_get_current_time_nanoseconds(&mut nanoseconds) };
    if status == OK { nanoseconds / 1_000_000 } else { 0 }
}

/// Fills a buffer with randomness; `false` when the host has none.
#[must_use]
pub(crate) fn random(buffer: &mut [u8]) -> bool {
    // SAFETY: pointer and size are of a live buffer.
    unsafe { random_get(buffer.as_mut_ptr(), buffer.len()) == 0 }
}

/// Asks for ticks.
pub(crate) fn tick_every(milliseconds: u32) {
    // SAFETY: no pointers.
    let _ = unsafe { proxy_set_tick_period_milliseconds(milliseconds) };
}

/// A whole buffer, such as the plugin's configuration or a call's answer.
pub(crate) fn buffer(kind: BufferType, size: usize) -> Option<Vec<u8>> {
    // SAFETY: see `returned`.
    returned(|data, got| unsafe { proxy_get_buffer_bytes(kind as u32, 0, size, data, got) })
}

/// A whole header map, serialized.
pub(crate) fn header_map(kind: MapType) -> Option<Vec<u8>> {
    // SAFETY: see `returned`.
    returned(|data, size| unsafe { proxy_get_header_map_pairs(kind as u32, data, size) })
}

/// The first value of a header.
pub(crate) fn header(kind: MapType, name: &str) -> Option<Vec<u8>> {
    // SAFETY: see `returned`; the name is a live slice.
    returned(|data, size| unsafe { proxy_get_header_map_value(kind as u32, name.as_ptr(), name.len(), data, size) })
}

/// Sets a request header, replacing all values it had.
#[must_use]
pub(crate) fn set_request_header(name: &str, value: &[u8]) -> bool {
    let kind = MapType::HttpRequestHeaders as u32;
    // SAFETY: live slices.
    let status =
        unsafe { proxy_replace_header_map_value(kind, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
    status == OK
}

/// Removes a request header with all its values.
#[must_use]
pub(crate) fn remove_request_header(name: &[u8]) -> bool {
    remove_header(MapType::HttpRequestHeaders, name)
}

/// Removes a header, or trailer, with all its values.
#[must_use]
pub(crate) fn remove_header(kind: MapType, name: &[u8]) -> bool {
    // SAFETY: live slice.
    unsafe { proxy_remove_header_map_value(kind as u32, name.as_ptr(), name.len()) == OK }
}

/// What Envoy knows about the current request, under this path; `None` where it does not say.
pub(crate) fn property(path: &[&str]) -> Option<Vec<u8>> {
    let path = path.join("\0");
    // SAFETY: see `returned`; the path is a live slice.
    returned(|data, size| unsafe { proxy_get_property(path.as_ptr(), path.len(), data, size) })
}

/// Puts a value into filter state, under `wasm.<name>`.
pub(crate) fn set_filter_state(name: &str, value: &[u8]) {
    // SAFETY: live slices. Filter state is for logs and other filters: a request does not depend on it.
    let _ = unsafe { proxy_set_property(name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// Sets a header of the current answer, replacing all values it had.
pub(crate) fn set_answer_header(name: &str, value: &[u8]) {
    let kind = MapType::HttpResponseHeaders as u32;
    // SAFETY: live slices. An answer that cannot be told about is as good without.
    let _ = unsafe { proxy_replace_header_map_value(kind, name.as_ptr(), name.len(), value.as_ptr(), value.len()) };
}

/// A value that all VMs of this Envoy share, and its version for [`set_shared`].
pub(crate) fn get_shared(key: &str) -> Option<(Vec<u8>, u32)> {
    let mut cas = 0;
    // SAFETY: see `returned`; key and cas are live.
    let value = returned(|data, size| unsafe { proxy_get_shared_data(key.as_ptr(), key.len(), data, size, &mut cas) })?;
    Some((value, cas))
}

/// Writes a shared value. With `cas` from [`get_shared`], only if nobody else has written since; 0 in any case.
#[must_use]
pub(crate) fn set_shared(key: &str, value: &[u8], cas: u32) -> bool {
    // SAFETY: live slices.
    unsafe { proxy_set_shared_data(key.as_ptr(), key.len(), value.as_ptr(), value.len(), cas) == OK }
}

/// Lets a paused request go on.
pub(crate) fn resume_request() {
    // SAFETY: no pointers. A request that is gone cannot be resumed, which harms nothing.
    let _ = unsafe { proxy_continue_stream(0) };
}

/// Answers the current request. Header values are not checked by the host: they have to be safe already.
#[must_use]
pub(crate) fn reply(status: u16, grpc_status: u8, details: &str, headers: &[(&str, &[u8])], body: &[u8]) -> bool {
    let headers = serialize(headers);
    // SAFETY: live slices. The gRPC status is used where the request is one of gRPC.
    let status = unsafe {
        proxy_send_local_response(
            u32::from(status),
            details.as_ptr(),
            details.len(),
            body.as_ptr(),
            body.len(),
            headers.as_ptr(),
            headers.len(),
            i32::from(grpc_status),
        )
    };
    status == OK
}

/// Calls another service. The answer comes to `on_http_call_response` with the token returned here.
pub(crate) fn http_call(cluster: &str, headers: &[(&str, &[u8])], body: &[u8], timeout_ms: u32) -> Option<u32> {
    let headers = serialize(headers);
    let trailers = serialize(&[]);
    let mut token = 0;
    // SAFETY: live slices and a live local.
    let status = unsafe {
        proxy_http_call(
            cluster.as_ptr(),
            cluster.len(),
            headers.as_ptr(),
            headers.len(),
            body.as_ptr(),
            body.len(),
            trailers.as_ptr(),
            trailers.len(),
            timeout_ms,
            &mut token,
        )
    };
    (status == OK).then_some(token)
}

/// Makes another request of this VM the current one; `false` when it is gone.
#[must_use]
pub(crate) fn switch_to(context: u32) -> bool {
    // SAFETY: no pointers.
    unsafe { proxy_set_effective_context(context) == OK }
}

/// Calls a function that Envoy itself offers; `None` when there is none of that name or it fails.
pub(crate) fn foreign(name: &str, arguments: &[u8]) -> Option<Vec<u8>> {
    // SAFETY: see `returned`; live slices.
    returned(|data, size| unsafe {
        proxy_call_foreign_function(name.as_ptr(), name.len(), arguments.as_ptr(), arguments.len(), data, size)
    })
}

/// Defines a metric, or finds the one of that name.
pub(crate) fn define_metric(kind: MetricType, name: &str) -> Option<u32> {
    let mut id = 0;
    // SAFETY: live slice and a live local.
    let status = unsafe { proxy_define_metric(kind as u32, name.as_ptr(), name.len(), &mut id) };
    (status == OK).then_some(id)
}

/// Adds to a counter.
pub(crate) fn count(id: u32, by: i64) {
    // SAFETY: no pointers. A count that is lost harms no request.
    let _ = unsafe { proxy_increment_metric(id, by) };
}

/// Sets a gauge.
pub(crate) fn gauge(id: u32, value: u64) {
    // SAFETY: no pointers.
    let _ = unsafe { proxy_record_metric(id, value) };
}

/// The layout that [`tollgate_core::request::Pairs`] reads, written.
fn serialize(pairs: &[(&str, &[u8])]) -> Vec<u8> {
    let size = |length: usize| u32::try_from(length).unwrap_or(0).to_le_bytes();
    let mut out = size(pairs.len()).to_vec();
    for (name, value) in pairs {
        out.extend_from_slice(&size(name.len()));
        out.extend_from_slice(&size(value.len()));
    }
    for (name, value) in pairs {
        for text in [name.as_bytes(), value] {
            out.extend_from_slice(text);
            out.push(0);
        }
    }
    out
}
