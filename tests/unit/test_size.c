/* SPDX-License-Identifier: BSD-2-Clause */
/*
 * Sizes and numbers as text: what is taken, what is refused and why, and the way back.
 */
#include <errno.h>
#include <inttypes.h>

#include "daemon/size.h"
#include "unit.h"

START_TEST(test_parse)
{
    static const struct {
        const char *text;
        uint64_t bytes;
    } good[] = {
        {"0", 0},
        {"1", 1},
        {"4096", 4096},
        {"1K", 1024},
        {"64M", 64u << 20},
        {"64m", 64u << 20},
        {"1G", 1u << 30},
        {"2T", UINT64_C(2) << 40},
        {"007", 7},
        {"18446744073709551615", UINT64_MAX},
        {"16777215T", UINT64_C(16777215) << 40},
    };

    for (unsigned i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        uint64_t bytes = 12345;
        ck_assert_msg(uvm_size_parse(good[i].text, &bytes) == 0, "%s refused", good[i].text);
        ck_assert_uint_eq(bytes, good[i].bytes);
    }
}
END_TEST

START_TEST(test_refuse)
{
    static const struct {
        const char *text;
        int error;
    } bad[] = {
        {"", -EINVAL},
        {"K", -EINVAL},
        {"-1", -EINVAL},
        {"+1", -EINVAL},
        {" 1", -EINVAL},
        {"1 ", -EINVAL},
        {"1 K", -EINVAL},
        {"1.5G", -EINVAL},
        {"1KB", -EINVAL},
        {"1KiB", -EINVAL},
        {"1P", -EINVAL},
        {"0x10", -EINVAL},
        {"1K1", -EINVAL},
        {"99999999999999999999999x", -EINVAL},
        {"18446744073709551616", -ERANGE},
        {"99999999999999999999999", -ERANGE},
        {"16777216T", -ERANGE},
        {"18014398509481984K", -ERANGE},
    };

    for (unsigned i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        uint64_t bytes = 12345;
        int error = uvm_size_parse(bad[i].text, &bytes);
        ck_assert_msg(error == bad[i].error, "\"%s\": %d", bad[i].text, error);
        ck_assert_uint_eq(bytes, 12345);
    }
}
END_TEST

START_TEST(test_number)
{
    uint64_t n = 5;

    ck_assert_int_eq(uvm_uint_parse("18446744073709551615", &n), 0);
    ck_assert(n == UINT64_MAX);
    ck_assert_int_eq(uvm_uint_parse("18446744073709551616", &n), -ERANGE);
    ck_assert_int_eq(uvm_uint_parse("1K", &n), -EINVAL);
    ck_assert_int_eq(uvm_uint_parse("", &n), -EINVAL);
    ck_assert_int_eq(uvm_uint_parse("-0", &n), -EINVAL);
}
END_TEST

START_TEST(test_format)
{
    static const struct {
        uint64_t bytes;
        const char *exact;
        const char *human;
    } cases[] = {
        {0, "0", "0"},
        {1, "1", "1"},
        {1023, "1023", "1023"},
        {1024, "1K", "1.0K"},
        {1536, "1536", "1.5K"},
        {4097, "4097", "4.0K"},
        {64u << 20, "64M", "64.0M"},
        {(1u << 20) - 1, "1048575", "1.0M"},
        {1536u << 20, "1536M", "1.5G"},
        {UINT64_C(8) << 40, "8T", "8.0T"},
        {UINT64_C(4096) << 40, "4096T", "4096.0T"},
        {UINT64_MAX, "18446744073709551615", "16777216.0T"},
    };
    char text[UVM_SIZE_MAX_TEXT];

    for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        uint64_t back;
        ck_assert_str_eq(uvm_size_format(text, cases[i].bytes), cases[i].exact);
        ck_assert_int_eq(uvm_size_parse(text, &back), 0);
        ck_assert(back == cases[i].bytes);
        ck_assert_str_eq(uvm_size_human(text, cases[i].bytes), cases[i].human);
    }
}
END_TEST

static Suite *size_suite(void)
{
    Suite *suite = suite_create("size");
    TCase *tc = tcase_create("size");

    tcase_add_test(tc, test_parse);
    tcase_add_test(tc, test_refuse);
    tcase_add_test(tc, test_number);
    tcase_add_test(tc, test_format);
    suite_add_tcase(suite, tc);
    return suite;
}

UNIT_MAIN(size_suite)
