"""The fault matrix: a row per fault, with what a client gets, what the upstream sees, what the log says, and the tests.

A test is `SUITE NAME`, a Rust test that the suite finds and runs, or the name of a function in `real_parts.py`. The log's
words are the `ended` of a generation's line; a dash is where there is nothing to tell."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Row:
    fault: str
    client: str
    upstream: str
    log: str
    tests: tuple[str, ...]


def _row(fault, client, upstream, log, *tests):
    return Row(fault, client, upstream, log, tests)


CLIENTS = [
    _row("closes or resets its connection mid-stream", "–", "closed at once", "`client_left`", "wire cancel::mid_stream_with_fin_and_with_rst"),
    _row("the same, after a stray byte", "–", "closed at once", "`client_left`", "wire cancel::even_after_a_stray_byte"),
    _row("leaves before the first token", "–", "closed at once", "`client_left`", "wire cancel::before_the_first_token", "wire cancel::while_waiting_for_the_upstreams_head", "wire cancel::while_connecting"),
    _row("its packets stop", "–", "closed within 20 s", "`client_left`", "client_vanishes"),
    _row("closes its sending half", "taken for one that left", "closed at once", "`client_left`", "wire cancel::a_half_closed_client_counts_as_gone"),
    _row("never reads", "dropped after `timeouts.client_stall`", "not read meanwhile, then closed", "`client_stall`", "wire cancel::a_client_that_reads_nothing_is_dropped", "wire flow::memory_for_a_client_that_reads_nothing_has_a_bound"),
    _row("is stopped for a while, and goes on", "all of the answer", "not read meanwhile", "`complete`", "client_stands_still", "wire flow::a_client_that_reads_nothing_stops_the_upstream_and_then_gets_it_all"),
    _row("reads slowly", "all of the answer", "read as slowly", "`complete`", "wire flow::a_big_event_to_a_slow_client_arrives_whole", "wire clients_http1::a_large_answer_is_whole_however_slowly_it_is_read"),
    _row("says nothing, or half a head", "closed after `timeouts.request_head`", "nothing", "–", "wire timeouts::a_silent_connection_and_half_a_head_are_closed"),
    _row("sends its body slowly", "408 `body_timeout`", "nothing", "–", "wire timeouts::a_slow_body"),
    _row("a head or body that is too large", "431 `headers_too_large`, 413 `body_too_large`", "nothing", "–", "wire refusals::sizes"),
    _row("a body that makes no sense", "400, with the place", "nothing", "–", "wire refusals::requests_that_make_no_sense"),
    _row("a message that can be read in two ways", "400, closed", "nothing, or exactly one request", "–", "wire refusals::smuggled_requests_reach_no_upstream", "wire verdicts::requests"),
    _row("HTTP/2: resets streams at once", "nothing is left behind", "closed at once", "`client_left`", "wire clients_http2::a_reset_cancels_its_own_generation_at_once", "wire clients_http2::resets_without_end_leave_nothing_behind"),
    _row("HTTP/2: takes nothing of one stream", "that one is reset, its neighbours go on", "closed", "`client_stall`", "wire clients_http2::a_stream_whose_client_takes_nothing_is_reset_and_its_neighbours_go_on"),
    _row("comes back: to what it may have, and to what it may not", "exactly what follows; 400, 404, 410", "one request", "–", "wire resume::a_connection_cut_at_every_token_loses_and_repeats_nothing", "wire resume::what_can_not_be_resumed_is_refused_with_the_reason"),
    _row("reads the same stream a hundredfold", "all of it; beyond the cap 429", "one request", "–", "wire resume::many_readers_share_one_generation_up_to_a_cap"),
    _row("asks twice with one `Idempotency-Key`", "the same answer", "one request", "–", "wire resume::one_idempotency_key_makes_one_generation"),
    _row("leaves an nginx in front", "–", "closed", "`client_left`", "client_behind_nginx_leaves"),
    _row("the nginx in front is killed", "broken off", "closed", "`client_left`", "nginx_dies"),
]

SOCKETS = [
    _row("a page of another origin", "403", "nothing", "–", "wire websocket_faults::pages_of_other_origins_get_no_socket"),
    _row("breaks the protocol: too long, unmasked, no UTF-8", "1009, 1002, 1007", "nothing", "–", "wire websocket_faults::who_breaks_the_protocol_is_told_how"),
    _row("answers no ping", "dropped", "closed", "–", "wire websocket_faults::who_answers_no_ping_is_dropped_and_who_does_stays"),
    _row("floods it with pings or nonsense", "held back", "nothing", "–", "wire websocket_faults::a_flood_of_pings_or_of_nonsense_is_held_back"),
    _row("never reads", "dropped after `timeouts.client_stall`", "not read meanwhile, then closed", "`client_stall`", "wire websocket_faults::a_socket_that_takes_nothing_stalls_its_own_and_nobody_else_and_is_dropped"),
    _row("breaks, and comes back", "exactly what follows", "one request", "`complete`", "wire websocket::a_lost_socket_loses_nothing_at_any_cut"),
]

UPSTREAMS = [
    _row("refuses connections", "502 `connect_failed`", "nothing", "`connect_failed`", "wire upstream_faults::no_connection"),
    _row("drops connection attempts", "504 `connect_timeout`", "nothing", "`connect_timeout`", "connection_attempts_vanish"),
    _row("its name server is silent", "504 `connect_timeout`; other providers are served", "nothing", "`connect_timeout`", "wire names::a_silent_name_server_holds_no_threads_and_no_other_provider"),
    _row("one of its addresses is dead", "the answer", "one request, at the other", "`complete`", "wire names::a_dead_address_beside_a_living_one_fails_no_request"),
    _row("TLS fails", "502 `tls_failed`, with the reason", "no request", "`tls_failed`", "wire upstream_tls::the_client_is_told_why_tls_failed_and_the_log_where"),
    _row("its head or first token is late", "heartbeats, then 504 or an error", "closed", "`first_token_timeout`", "wire timeouts::the_first_token", "wire timeouts::the_first_token_after_our_head"),
    _row("falls silent mid-stream", "an error", "closed", "`between_tokens_timeout`", "wire timeouts::between_tokens_and_neither_comments_nor_heartbeats_put_it_off"),
    _row("its packets stop mid-stream", "an error", "–", "`between_tokens_timeout`", "upstream_vanishes"),
    _row("never pauses, for too long", "an error", "closed", "`total_timeout`", "wire timeouts::the_total_of_an_upstream_that_never_pauses"),
    _row("is cut or reset mid-stream", "an error and no end mark", "–", "`upstream_reset`", "wire upstream_faults::a_reset_and_a_cut_connection_are_breaks"),
    _row("ends before its answer does", "an error and no end mark", "–", "`upstream_truncated`", "wire upstream_faults::an_end_without_a_finish_is_a_break", "wire upstream_faults::one_of_two_answers_unfinished_is_a_break"),
    _row("refuses: 401, 429, 500", "that status in the client's dialect, with `retry-after`", "one request", "`upstream_refused`", "wire upstream_faults::refusals_keep_their_status_their_body_and_retry_after"),
    _row("an error mid-stream", "that error, and no end mark", "closed", "`upstream_error`", "wire upstream_faults::errors_of_the_upstream_pass_and_end_the_stream"),
    _row("HTML, another type or a redirect instead of a stream", "502", "one request, without the key elsewhere", "`upstream_not_a_stream`", "wire upstream_faults::no_stream_where_one_was_due"),
    _row("frames that can't be parsed", "an error", "closed", "`upstream_bad_payload`", "wire upstream_faults::frames_that_are_no_json_are_a_break"),
    _row("an event without an end", "an error", "closed", "`event_too_large`", "wire upstream_faults::an_event_over_the_cap_is_a_break"),
    _row("an answer that can be read in two ways", "502 `upstream_reset`", "closed, not used again", "`upstream_reset`", "wire upstream_faults::an_answer_that_can_be_read_in_two_ways_is_a_break", "wire verdicts::responses"),
    _row("CR LF, byte order marks, single bytes", "identical events", "–", "`complete`", "wire lossless::crlf_cr_and_a_missing_space_pass_as_they_are", "wire lossless::a_byte_order_mark_is_not_passed_on", "wire lossless::one_byte_at_a_time_is_the_same_stream"),
    _row("goes on after its end", "nothing of it", "closed, not used again", "`complete`", "wire lossless::what_follows_the_end_is_not_passed_on", "wire lossless::a_connection_that_says_more_after_its_end_is_closed"),
    _row("closes a kept connection", "the answer, or an honest 502; nothing is sent twice", "at most one request", "`upstream_reset`", "wire upstream_tls::a_kept_connection_that_was_closed_is_seen_before_a_request_is_sent_on_it", "wire upstream_faults::a_kept_connection_that_breaks_is_no_reason_to_send_a_post_again"),
    _row("repeats its key", "the key is cut out", "–", "no key", "wire log_content::a_key_in_any_frame_or_answer_that_is_passed_through_is_cut_out"),
]

STORES = [
    _row("is missing at the start", "–", "–", "one line, exit code 2", "streams processes::a_server_without_its_redis_says_so_in_one_line_and_ends"),
    _row("dies, and comes back empty", "live streams go on; readers elsewhere get heartbeats, then what follows", "nothing", "–", "streams faults::a_redis_that_dies_and_comes_back_empty_costs_a_local_reader_nothing_and_a_remote_one_a_pause"),
    _row("is away", "503 `store_away`; an `EventSource` is told to come again", "nothing", "–", "streams processes::while_redis_is_away_a_browser_is_told_to_come_again_and_others_that_it_is"),
    _row("stands still for 10 s", "live streams go on; no writer is taken for lost", "nothing", "–", "streams faults::a_redis_that_stands_still_for_ten_seconds_stops_nobody_and_loses_no_writer"),
    _row("is full", "503 to what is new; the rest goes on", "nothing", "–", "streams faults::a_redis_without_memory_refuses_appends_and_serves_on", "streams faults::a_redis_without_memory_loses_no_writer"),
    _row("is emptied around a stream's end", "an end, or that it is gone", "nothing", "–", "streams resume::a_redis_that_is_emptied_around_the_end_leaves_no_reader_waiting", "streams faults::a_stream_that_redis_has_lost_and_nobody_brings_back_is_gone"),
    _row("a foreign or broken entry", "an error, nothing of the entry", "–", "an error", "streams faults::a_foreign_or_broken_entry_is_never_passed_on"),
    _row("fails over to a replica", "what follows", "nothing", "–", "streams topology::when_a_master_dies_its_successor_is_found_and_streams_go_on"),
    _row("answers come while those who asked have given up", "nobody gets another's answer", "–", "–", "streams cancel_safety::answers_reach_those_who_asked_though_thousands_give_up"),
]

PROCESSES = [
    _row("SIGTERM with 300 streams", "all of every answer", "nothing", "`complete`", "terminated_with_many_streams"),
    _row("SIGTERM, and streams that outlast `drain`", "an error", "closed", "`draining`", "wire shutdown::past_the_deadline_each_stream_ends_with_an_error"),
    _row("replicas are replaced in turn, five times, behind HAProxy, under load", "no failed request", "no request twice", "`complete`", "replicas_are_replaced"),
    _row("`kill -9`, and a start", "broken off; the next one is served at once", "closed", "–", "killed_and_started"),
    _row("`kill -9` of a stream's writer", "what was copied, then `writer_lost` within 10 s", "closed", "–", "streams processes::readers_of_a_server_that_is_killed_are_told_within_ten_seconds", "streams processes::whoever_has_more_than_a_killed_server_copied_is_told_that_it_is_lost_and_once"),
    _row("a writer is cut off and comes back", "`writer_lost`, once and for all", "closed", "–", "streams faults::a_writer_that_is_cut_off_is_told_of_as_lost_and_does_not_come_back"),
    _row("SIGHUP", "nothing", "nothing", "a line", "wire shutdown::a_hangup_ends_nothing"),
    _row("a long computation", "others are served", "nothing", "–", "wire plain::a_rendering_that_takes_too_long_ends_in_an_error_while_others_go_on"),
    _row("a new configuration while streams run", "all of every answer", "nothing", "`configuration reloaded`", "wire reload::twenty_reloads_cut_no_stream_and_change_no_byte"),
    _row("a new configuration with errors", "nothing", "nothing", "`configuration not reloaded`, and why", "wire reload::a_wrong_file_changes_nothing_and_is_said_where_and_why"),
    _row("a configuration with errors", "–", "–", "a line each, exit code 2", "wire cli::all_that_is_wrong_is_told_at_once"),
    _row("no more connections", "the longest idle is closed, or 503", "nothing", "–", "wire budget::beyond_the_most_connections_the_longest_idle_makes_room", "wire log::a_shortage_of_sockets_passes_though_the_log_is_full"),
    _row("large bodies in a cgroup of 128 MB", "503 `memory_capacity`; running streams go on", "nothing", "–", "memory_is_short", "wire budget::what_bodies_hold_together_is_bounded"),
    _row("the log's disk is full, its pipe closed or not read", "nothing", "nothing", "what was dropped is counted", "wire log::a_disk_that_is_full_ends_nothing", "wire log::a_reader_that_is_gone_ends_nothing", "wire log::a_pipe_that_nobody_reads_holds_nobody"),
]

PARTS = {
    "A client": CLIENTS,
    "A WebSocket's client": SOCKETS,
    "An upstream": UPSTREAMS,
    "Redis": STORES,
    "The process and its machine": PROCESSES,
}


def table():
    """The matrix as it stands in docs/reliability.md."""
    lines = []
    for part, rows in PARTS.items():
        lines += [f"### {part}", "", "| fault | the client gets | the upstream sees | the log says | tests |", "| --- | --- | --- | --- | --- |"]
        for row in rows:
            tests = ", ".join(f"`{test.split()[-1]}`" for test in row.tests)
            lines.append(f"| {row.fault} | {row.client} | {row.upstream} | {row.log} | {tests} |")
        lines.append("")
    return "\n".join(lines)
