//! The ledger through its front door.
//!
//! `stories` and `simulation` know nothing of any engine: they take books that can be opened, and every engine
//! must tell them the same. What only an SQLite file can do or suffer stands in `sqlite`.

// A test fails by panicking.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::panic)]

mod funds;
mod model;
mod simulation;
mod sqlite;
mod stories;
mod support;

/// One test a story, for an engine given by how to make it.
macro_rules! conformance {
    ($make:expr => $($module:ident: $($story:ident),+ $(,)?);+ $(;)?) => {
        $(mod $module {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $story() {
                let site = crate::support::Site::new(Box::new($make));
                crate::stories::$module::$story(&site).await;
                site.must_balance().await;
            })+
        })+
    };
}

mod sqlite_conforms {
    conformance! { crate::sqlite::SqliteBooks::new() =>
        selling:
            bought_stamps_leave_the_account_and_stand_outstanding,
            the_same_order_again_is_told_and_charged_nothing,
            an_order_with_one_sold_id_sells_none_of_it,
            an_order_beyond_the_balance_sells_nothing,
            orders_that_make_no_sense_are_refused,
            sold_stamps_are_found_by_id_in_the_order_asked,
            what_is_outstanding_goes_down_by_redemption_and_expiry,
            credit_and_debit_are_written_down_newest_first,
            a_debit_beyond_the_balance_moves_nothing,
            amounts_beyond_an_integer_are_refused,
            the_last_money_is_spent_once_by_many_orders_at_a_time;
        redeeming:
            a_sold_stamp_pays_one_letter,
            a_stamp_that_was_not_sold_exactly_so_is_unsold,
            a_stamp_of_another_office_is_owed_by_it,
            one_id_of_two_offices_is_two_stamps,
            the_first_stamp_that_pays_is_taken,
            a_stamp_with_a_fault_is_never_redeemed,
            each_recipient_pays_with_a_stamp_of_his_own,
            one_stamp_for_two_recipients_pays_for_one,
            a_recipient_named_twice_pays_once,
            all_or_nothing_redeems_nothing_when_one_is_unpaid,
            without_all_or_nothing_each_pays_for_himself,
            a_letter_without_candidates_is_unpaid,
            redemption_numbers_are_not_zero_and_differ,
            one_stamp_raced_by_many_letters_pays_one,
            ids_raced_through_two_handles_are_won_once_each;
        dossier:
            one_look_says_what_each_question_would;
        foresee:
            what_is_foreseen_is_what_then_happens_and_nothing_happens_by_it;
        retries:
            the_same_letter_again_is_free_within_limits,
            a_retry_needs_the_same_letter_recipient_and_stamp,
            a_retry_is_looked_for_in_all_stamps_before_one_is_redeemed,
            retries_of_a_refused_letter_are_not_counted,
            after_the_window_another_stamp_pays,
            the_same_letter_raced_is_charged_once;
        work:
            work_lets_in_a_few_letters_a_day,
            details_of_an_address_share_its_day,
            a_work_stamp_is_used_once,
            the_same_letter_by_work_is_free_within_limits,
            work_is_not_looked_at_when_a_stamp_pays,
            a_retry_by_work_saves_the_stamp,
            work_is_untouched_when_another_recipient_is_unpaid,
            two_recipients_of_a_letter_share_a_days_work;
        marks:
            wanted_gives_the_postage_back_once,
            wanted_makes_the_author_known,
            unwanted_moves_no_money_and_may_turn_to_wanted,
            unwanted_makes_a_known_sender_unknown,
            a_forged_letter_teaches_nothing,
            a_block_outlives_marks,
            after_the_window_nothing_goes_back,
            postage_of_another_office_goes_back_to_it,
            letters_are_found_by_stamp,
            letters_are_found_by_message_id,
            free_letters_can_be_marked,
            unknown_letters_are_said_to_be_unknown,
            the_recipient_of_a_number_is_known,
            one_refund_however_many_ask_at_once,
            an_answer_marks_the_letter_it_answers,
            an_answer_to_somebody_else_s_letter_marks_the_first,
            of_two_letters_with_one_message_id_the_users_own_is_answered,
            one_letter_to_several_addresses_of_the_user_is_marked_for_each,
            answering_where_to_unsubscribe_marks_nothing,
            an_answer_to_a_colleague_is_none_to_a_copy_of_his_letter,
            letters_are_named_by_stamp_and_message_id,
            submission_is_noted;
        funding:
            a_voucher_is_good_once_and_its_user_may_ask_again,
            vouchers_are_listed_with_what_became_of_them,
            a_void_or_expired_voucher_is_worth_nothing,
            issues_that_make_no_sense_are_refused,
            a_code_raced_through_two_handles_is_won_once,
            one_account_that_asks_many_times_at_once_is_credited_once,
            a_voucher_is_used_or_void_and_never_both,
            a_voucher_beyond_what_an_account_can_hold_stays_good,
            what_an_account_holds_is_gathered_onto_another_once,
            a_grant_comes_once_a_day_and_once_a_proof,
            grants_of_a_day_stay_within_its_budget,
            grants_to_a_network_and_for_little_work_stay_within_theirs,
            old_grants_are_forgotten_when_their_proofs_are,
            a_payment_is_credited_once_for_each_event_and_reference,
            one_payment_told_of_many_times_at_once_is_credited_once,
            what_funded_an_account_is_there_after_reopening;
        book:
            entries_are_written_once_and_taken_out_once,
            the_strongest_entry_counts,
            blocks_give_way_by_hand_only,
            any_sender_can_be_read_back,
            a_zone_is_a_domain_and_all_below_it,
            nobody_welcomes_all_the_world,
            the_book_is_that_of_the_address_without_detail,
            what_another_handle_wrote_is_seen_at_once;
        sent:
            who_is_written_to_is_known,
            addresses_for_bounces_alone_are_nobodys,
            sent_letters_can_be_answered_for_a_while,
            wide_letters_cannot_be_answered,
            letters_to_a_list_cannot_be_answered,
            a_lists_own_letters_say_what_was_a_post,
            what_comes_back_by_a_list_was_a_post,
            a_few_answers_are_free_and_then_those_from_there,
            an_answer_redeems_no_stamp,
            an_answer_refused_for_another_counts_nothing,
            answers_raced_are_counted_one_by_one;
        passes:
            a_pass_is_made_once_for_its_two,
            a_bought_pass_is_a_stamp_that_was_sold_and_is_not_spent,
            a_bought_pass_ends_with_its_stamp,
            a_worked_pass_lets_in_one_letter_and_is_none_of_the_few,
            a_refused_letter_uses_no_pass,
            a_pass_waits_a_week_and_is_remembered_for_its_retries,
            what_one_can_heap_up_is_bounded,
            one_pass_raced_by_many_letters_lets_in_one;
        settings:
            a_price_of_ones_own_is_kept_and_taken_back,
            digests_are_made_once_by_whoever_is_first,
            letters_of_strangers_are_told_newest_first,
            a_wanted_sender_gets_all_back_that_the_window_holds,
            an_unwanted_sender_is_unknown_and_keeps_nothing_from_turning,
            a_blocked_sender_gets_back_what_he_paid_and_stays_blocked,
            a_sender_of_many_letters_is_marked_in_several_steps;
        outbox:
            an_answer_waits_until_its_mail_is_made,
            a_mail_keeps_its_id_until_it_is_taken,
            answers_beyond_the_limits_wait_and_go_together,
            answers_wait_behind_a_mail_that_is_not_taken,
            what_came_while_a_mail_was_made_waits_for_the_next,
            too_many_answers_for_an_address_are_counted_and_left_out,
            long_texts_are_cut_between_characters,
            a_clock_that_ran_ahead_holds_nothing_back,
            what_waits_is_told,
            whoever_waits_for_mail_is_told,
            a_digest_is_made_once_for_its_time,
            the_queue_is_bounded_and_digests_keep_no_answer_out;
        owners:
            one_login_has_one_book,
            a_shared_mailbox_has_a_book_of_its_own_that_its_owners_read,
            what_was_learned_apart_is_not_lost_when_logins_change,
            an_answer_may_come_to_another_address_of_the_login,
            work_for_one_login_is_counted_together,
            a_letter_to_one_address_is_marked_by_another,
            one_login_has_one_price_and_hears_of_all_its_strangers;
        settling:
            what_nobody_wanted_is_kept_when_the_window_is_over,
            what_nobody_wanted_is_burned_where_the_site_says_so,
            each_domain_and_office_is_settled,
            many_redemptions_are_settled_in_several_steps,
            unused_stamps_go_back_to_their_buyer,
            a_used_up_order_ends_without_an_entry,
            unused_stamps_for_foreign_domains_do_not_go_back,
            many_orders_are_ended_in_several_steps,
            the_settling_clock_follows_a_day_a_pass,
            the_settling_clock_begins_with_the_books,
            a_letter_of_a_wrong_clock_is_settled_with_the_next,
            old_history_goes_and_the_books_still_prove,
            a_mark_that_was_dropped_is_no_second_chance,
            young_history_stays,
            a_mark_at_the_last_second_races_with_settling,
            two_processes_settle_side_by_side,
            what_is_due_and_not_done_is_said,
            settled_postage_is_told_as_final;
        franking:
            a_letter_takes_all_its_stamps_or_none,
            no_more_is_kept_ahead_than_was_asked_for,
            a_domain_that_changes_its_terms_has_nothing_bought_for_nothing,
            a_user_cannot_have_the_purse_spent_on_what_nobody_uses,
            the_cheapest_that_will_do_and_lasts_is_taken,
            stamps_of_an_office_that_is_taken_no_longer_are_put_on_nothing,
            letters_users_and_the_site_have_budgets,
            stamps_raced_for_are_handed_out_once,
            what_is_to_be_bought_follows_what_is_written;
        copies:
            who_gets_a_copy,
            a_copy_waits_for_its_stamp_and_the_oldest_gets_the_first,
            what_no_letter_came_to_need_makes_room_at_once,
            one_login_does_not_fill_the_queue,
            a_copy_takes_no_stamp_that_costs_more_than_was_counted_for_it,
            copies_go_with_what_is_in_hand_when_no_more_comes,
            a_copy_that_went_without_counts_for_what_may_be_bought,
            a_letter_sent_again_gets_what_it_got,
            a_copy_that_is_given_up_leaves_with_the_mail_that_says_so,
            a_message_is_kept_whole_and_goes_when_nobody_wants_it,
            only_so_much_is_kept,
            a_login_pays_from_its_own_account,
            what_a_login_paid_for_a_stamp_that_never_came_is_its_own_again,
            a_buyer_hears_which_stamps_came_back;
        foreign:
            an_office_owes_up_to_its_cap,
            the_cap_counts_all_stamps_of_a_letter,
            the_cap_holds_for_letters_at_a_time,
            what_is_given_back_is_reported_once,
            a_report_in_vain_is_told_again_and_holds_up_no_other,
            many_refunds_are_reported_in_several_calls,
            what_is_kept_is_never_reported,
            refunds_that_no_office_takes_are_given_up,
            a_reported_refund_reaches_its_buyer_once,
            a_refund_reported_by_many_at_once_is_one,
            a_stamp_counts_here_or_there,
            what_was_given_up_is_not_given_back,
            settlements_go_with_old_history_and_the_books_still_prove,
            what_an_office_owes_can_be_forgiven;
        keeping:
            what_was_answered_is_there_after_reopening,
            closed_books_answer_nothing,
            health_is_well,
            the_chain_grows_with_every_change_of_money_only;
    }

    #[test]
    fn a_seeded_life_agrees_with_the_model() {
        crate::simulation::run(|| Box::new(crate::sqlite::SqliteBooks::new()));
    }
}
