//! Every limit of the service: its meaning, unit, default and allowed range, written once. Nothing is unlimited.

use serde::Deserialize;

/// Writes each limit once: its documentation (which is also its comment in the template), type, default and allowed range.
macro_rules! limits {
    ($($(#[doc = $doc:literal])+ $name:ident: $type:ty = $default:expr, $least:expr, $most:expr;)+) => {
        /// The limits. Units stand in the names.
        #[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
        #[serde(default, deny_unknown_fields)]
        pub struct Limits {
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        impl Default for Limits {
            fn default() -> Self {
                Self { $($name: $default,)+ }
            }
        }

        impl Limits {
            /// The first limit that is outside of its range: its key and the range in words.
            pub(super) fn first_out_of_range(&self) -> Option<(&'static str, String)> {
                $(
                    let (least, most): ($type, $type) = ($least, $most);
                    if !(least..=most).contains(&self.$name) {
                        return Some((stringify!($name), format!("must lie between {least} and {most}")));
                    }
                )+
                None
            }

            /// The limits' part of the template: each with its meaning, switched off, at its default.
            pub(super) fn template() -> String {
                let defaults = Self::default();
                let mut text = String::new();
                $(
                    for line in [$($doc),+] {
                        text.push_str("#");
                        text.push_str(line);
                        text.push('\n');
                    }
                    text.push_str(&format!("# Between {} and {}.\n", $least, $most));
                    text.push_str(&format!("#{} = {}\n", stringify!($name), defaults.$name));
                )+
                text
            }
        }
    };
}

const KIB: u64 = 1024;
const MIB: u64 = 1024 * KIB;
const GIB: u64 = 1024 * MIB;
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

limits! {
    /// How many connections may be open; further ones wait in the operating system's queue.
    connections: usize = 1024, 1, 65_536;
    /// How long a TLS handshake may take, in milliseconds.
    handshake_timeout_ms: u64 = 5_000, 100, MINUTE_MS;
    /// How long a connection may say nothing before it is asked for a sign of life, in milliseconds.
    keepalive_interval_ms: u64 = 30_000, 1_000, HOUR_MS;
    /// How long the sign of life may take before the connection is closed, in milliseconds.
    keepalive_timeout_ms: u64 = 10_000, 1_000, HOUR_MS;
    /// After how many milliseconds a connection takes no new calls, so that clients spread and renewed certificates are used.
    connection_age_ms: u64 = HOUR_MS, 10_000, 24 * HOUR_MS;
    /// How many milliseconds after its last stream must have ended (its age and stream_deadline_ms) a connection is cut.
    connection_grace_ms: u64 = 30_000, 0, HOUR_MS;
    /// How many calls one connection may have open; a client that knows HTTP/2 queues the others by itself.
    streams_per_connection: u32 = 64, 1, 1_024;
    /// How many calls of one connection are worked on at once; the others wait for call_queue_timeout_ms.
    calls_per_connection: usize = 32, 1, 1_024;
    /// How long a call waits for its turn before it is refused, in milliseconds.
    call_queue_timeout_ms: u64 = 5_000, 0, MINUTE_MS;
    /// How many streams that the client reset may wait to be noticed before the connection is closed (HTTP/2 rapid reset).
    pending_reset_streams: usize = 20, 1, 1_024;
    /// How many streams the service may have to reset for a client's errors before the connection is closed.
    local_error_resets: usize = 256, 1, 4_096;
    /// The most bytes of a call's headers.
    header_list_bytes: u32 = 8 * 1024, 1_024, 64 * 1024;
    /// The most bytes of one message, in and out. A transcript needs 1 MiB.
    message_bytes: usize = 1024 * 1024, 1024 * 1024, 4 * 1024 * 1024;
    /// How many bytes a client may send ahead on one stream.
    stream_window_bytes: u32 = 1024 * 1024, 65_535, 16 * 1024 * 1024;
    /// How many bytes a client may send ahead on all streams of a connection.
    connection_window_bytes: u32 = 2 * 1024 * 1024, 65_535, 64 * 1024 * 1024;
    /// How long a call that is not a stream may take, in milliseconds.
    call_timeout_ms: u64 = MINUTE_MS, 1_000, HOUR_MS;
    /// How long an upload or download may stand still, in milliseconds.
    stream_idle_timeout_ms: u64 = MINUTE_MS, 1_000, HOUR_MS;
    /// How long a whole upload or download may take, in milliseconds.
    stream_deadline_ms: u64 = HOUR_MS, 1_000, 24 * HOUR_MS;
    /// After how many milliseconds an open upload or download asks again whether its caller still may.
    access_recheck_ms: u64 = 15_000, 100, 30_000;
    /// How many failed logins a minute one address may have before it is refused for the rest of the minute (of IPv6: one network of 64 bits).
    failed_logins_per_minute: u32 = 300, 1, 1_000_000;
    /// How long open calls may go on after the service was told to stop, in milliseconds.
    shutdown_grace_ms: u64 = 30_000, 0, HOUR_MS;
    /// The most bytes of uploads and downloads that are in memory at once.
    bytes_in_flight: u64 = 64 * MIB, 16 * MIB, 64 * GIB;
    /// The most bytes of one recording.
    recording_bytes: u64 = 16 * GIB, MIB, 1_024 * GIB;
    /// The bytes in one sealed part of a recording.
    part_bytes: u64 = 8 * MIB, 64 * KIB, 8 * MIB;
    /// Content up to so many bytes stands in the database, larger content in the object store.
    inline_content_bytes: u64 = 32 * KIB, 0, 256 * KIB;
    /// Content is refused when less than so many bytes are free on the disk; erasures, audit and reads go on.
    disk_reserve_bytes: u64 = GIB, 0, 1_024 * GIB;
    /// About how many bytes of the database stay in memory; it may take several times of that. With hundreds of thousands of customers
    /// more of it makes erasures faster.
    database_cache_bytes: u64 = 32 * MIB, 8 * MIB, 64 * GIB;
    /// The database is compacted while it is used once so many percent of its files are dead: rows that were replaced or removed. 0: never.
    compact_dead_percent: u64 = 50, 0, 95;
    /// And once so many bytes are dead.
    compact_dead_bytes: u64 = 256 * MIB, 0, 1_024 * GIB;
    /// How often it is looked whether that is so, in seconds. A look reads every row, in turns with others.
    compact_check_s: u64 = 3_600, 1, 7 * 24 * 3_600;
    /// How many rows one call of a list may look at.
    list_scan_rows: usize = 10_000, 200, 1_000_000;
    /// How many minutes after it was asked for the erasure of a whole tenant can be approved by a second person.
    tenant_erasure_delay_minutes: u64 = 72 * 60, 1, 365 * 24 * 60;
    /// How many erasures a tenant may ask for within an hour; a list counts as many as it names.
    erasures_per_hour: u64 = 1_000, 1, 1_000_000;
    /// For how many hours a repeated request id gets the first answer.
    request_id_retention_hours: u64 = 24, 1, 24 * 30;
}
