/* Lines of JSONL and CSV into columns of Arrow string views, without a Python object a value.
 *
 * Only lines that are surely well formed are taken; every other line is left to the exact reader, by its number. What is taken
 * is written in place: a string with escapes, an object with white space and a cell with doubled quotes become shorter.
 * A property test holds this file to Python's json and csv modules. Nothing outside [low, high) of the text is read or
 * written, and nothing beyond `room` rows of a sheet.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { STRING, NUMBER, BOOLEAN, OBJECT, NOTHING, ARRAY };
enum { ANY, EMAIL, PHONE, ADDRESS };

#define MAX_RECORD (1024 * 1024)
#define DEEPEST 64
#define MAX_SHEETS 8
#define MAX_NAMES 63
#define MAX_COLUMNS 1024
#define SLOTS 256
#define MOST_UNKNOWN 32
#define INLINE_TEXT 12
#define LONG_TEXT 128
#define LONG_EMAIL 64

typedef struct {
    const char *text;
    Py_ssize_t length;
    int kind, form;
} Name;

typedef struct {
    int64_t *rows;
    uint64_t *sent, *null, *wrong, *sure;
    uint8_t *odd;
    uint8_t *views;
    int64_t count;
    uint64_t ever;
    int names;
    Name name[MAX_NAMES];
    int64_t written[MAX_NAMES]; /* rows of a column that hold a view; what memory held before stands in the others */
    uint8_t slot[SLOTS];
} Sheet;

typedef struct {
    const char *text;
    Py_ssize_t length;
    int sheet;
    int other;
} Category;

typedef struct {
    uint8_t *text;
    int64_t low, high, room, size;
    int ascii;
    int64_t *starts, *ends, *nexts, *left;
    int64_t lines, lefts;
    int sheets, categories;
    Sheet sheet[MAX_SHEETS];
    Category category[16];
    int64_t *unknown_rows;
    uint8_t *unknown_sheets, *unknown_null, *unknown_names, *unknown_values;
    int64_t unknown, unknown_room;
} Scan;

/* One line on its way: what is known of it so far. */
typedef struct {
    Sheet *sheet;
    int number;
    int64_t row;
    uint64_t sent, null, wrong, sure;
    int odd;
    int64_t unknown;
} Line;

static uint8_t PLAIN[256]; /* bytes that go on a string: neither quote, backslash, control character nor above 0x7e */

static void write_view(uint8_t *view, const uint8_t *text, int64_t start, int64_t length) {
    uint32_t size = (uint32_t)length, zero = 0, offset = (uint32_t)start;
    memcpy(view, &size, 4);
    if (length <= INLINE_TEXT) {
        memset(view + 4, 0, INLINE_TEXT);
        memcpy(view + 4, text + start, (size_t)length);
    } else {
        memcpy(view + 4, text + start, 4);
        memcpy(view + 8, &zero, 4);
        memcpy(view + 12, &offset, 4);
    }
}

/* Tell whether a character of category Cc begins here. One byte more than the text is always there: its quote, say. */
static int is_control(const uint8_t *text, int64_t at) {
    return text[at] < 0x20 || text[at] == 0x7f || (text[at] == 0xC2 && text[at + 1] < 0xA0);
}

/* Tell whether a text is empty or long, or may have white space at an end: a space, or the bytes that white space beyond ASCII has. */
static int is_odd(const uint8_t *text, int64_t start, int64_t stop) {
    int64_t length = stop - start;
    if (length == 0 || length > LONG_TEXT) return 1;
    uint8_t first = text[start];
    return first == ' ' || text[stop - 1] == ' ' || first == 0xC2 || (first >= 0xE1 && first <= 0xE3) ||
           (length >= 2 && text[stop - 2] == 0xC2) || (length >= 3 && text[stop - 3] >= 0xE1 && text[stop - 3] <= 0xE3);
}

static int is_digit(uint8_t byte) { return byte >= '0' && byte <= '9'; }

static int is_letter(uint8_t byte) { return (byte | 0x20) >= 'a' && (byte | 0x20) <= 'z'; }

/* Tell whether [at, stop) surely is an address of e-mail: words with single points between, @, labels with single points and
 * hyphens between, the last of two or three letters, which no special-use domain has. */
static int is_email(const uint8_t *text, int64_t at, int64_t stop) {
    if (stop - at > LONG_EMAIL) return 0;
    int64_t word = at, label;
    for (; at < stop && text[at] != '@'; at++) {
        uint8_t byte = text[at];
        if (byte == '.') {
            if (word == at) return 0;
            word = at + 1;
        } else if (!is_letter(byte) && !is_digit(byte) && byte != '_' && byte != '+' && byte != '-') {
            return 0;
        }
    }
    if (word == at) return 0;
    int64_t domain = label = word = ++at;
    for (; at < stop; at++) {
        uint8_t byte = text[at];
        if (byte == '.' || byte == '-') {
            if (word == at) return 0;
            word = at + 1;
            if (byte == '.') label = word;
        } else if (!is_letter(byte) && !is_digit(byte)) {
            return 0;
        }
    }
    if (label == domain || stop - label < 2 || stop - label > 3) return 0;
    for (at = label; at < stop; at++)
        if (!is_letter(text[at])) return 0;
    return 1;
}

static int is_phone(const uint8_t *text, int64_t at, int64_t stop) {
    if (stop - at < 8 || stop - at > 16 || text[at] != '+' || text[at + 1] == '0') return 0;
    for (at++; at < stop; at++)
        if (!is_digit(text[at])) return 0;
    return 1;
}

/* Tell whether a postal address surely is complete: a digit of ASCII and two commas. */
static int is_address(const uint8_t *text, int64_t at, int64_t stop) {
    int commas = 0, any_digit = 0;
    for (; at < stop; at++) {
        commas += text[at] == ',';
        any_digit |= is_digit(text[at]);
    }
    return commas >= 2 && any_digit;
}

/* Tell whether a text surely breaks no rule about the form of its field; without a form nothing is sure. */
static int is_sure(int form, const uint8_t *text, int64_t start, int64_t stop) {
    switch (form) {
        case EMAIL: return is_email(text, start, stop);
        case PHONE: return is_phone(text, start, stop);
        case ADDRESS: return is_address(text, start, stop);
        default: return 0;
    }
}

static unsigned hash_name(const uint8_t *text, int64_t length) {
    uint32_t hash = 2166136261u;
    for (int64_t at = 0; at < length; at++) hash = (hash ^ text[at]) * 16777619u;
    return (hash ^ (hash >> 15)) & (SLOTS - 1);
}

static int find_name(const Sheet *sheet, const uint8_t *text, int64_t length) {
    unsigned slot = hash_name(text, length);
    while (sheet->slot[slot]) {
        const Name *name = &sheet->name[sheet->slot[slot] - 1];
        if (name->length == length && memcmp(name->text, text, (size_t)length) == 0) return sheet->slot[slot] - 1;
        slot = (slot + 1) & (SLOTS - 1);
    }
    return -1;
}

static const Category *find_category(const Scan *scan, const uint8_t *text, int64_t length) {
    for (int at = 0; at < scan->categories; at++)
        if (scan->category[at].length == length && memcmp(scan->category[at].text, text, (size_t)length) == 0)
            return &scan->category[at];
    return NULL;
}

static int is_utf8(const uint8_t *text, int64_t start, int64_t end) {
    int64_t at = start;
    while (at < end) {
        uint8_t byte = text[at];
        int64_t more;
        if (byte < 0x80) { at++; continue; }
        if (byte >= 0xC2 && byte <= 0xDF) more = 1;
        else if (byte >= 0xE0 && byte <= 0xEF) more = 2;
        else if (byte >= 0xF0 && byte <= 0xF4) more = 3;
        else return 0;
        if (end - at <= more) return 0;
        uint8_t next = text[at + 1];
        if ((byte == 0xE0 && next < 0xA0) || (byte == 0xED && next > 0x9F) || (byte == 0xF0 && next < 0x90) ||
            (byte == 0xF4 && next > 0x8F))
            return 0;
        for (int64_t step = 1; step <= more; step++)
            if ((text[at + step] & 0xC0) != 0x80) return 0;
        at += more + 1;
    }
    return 1;
}

static int64_t skip_space(const uint8_t *text, int64_t at, int64_t end) {
    while (at < end && (text[at] == ' ' || text[at] == '\t' || text[at] == '\r' || text[at] == '\n')) at++;
    return at;
}

static int hex4(const uint8_t *text) {
    int value = 0;
    for (int at = 0; at < 4; at++) {
        uint8_t c = text[at];
        int digit = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
        if (digit < 0) return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* Write one escape (text[at] is the backslash) at *to; return the place behind it, -1 when it is none. */
static int64_t unescape(uint8_t *text, int64_t at, int64_t end, int64_t *to, int *odd) {
    if (at + 1 >= end) return -1;
    uint8_t plain;
    switch (text[at + 1]) {
        case '"': plain = '"'; break;
        case '\\': plain = '\\'; break;
        case '/': plain = '/'; break;
        case 'b': plain = '\b'; break;
        case 'f': plain = '\f'; break;
        case 'n': plain = '\n'; break;
        case 'r': plain = '\r'; break;
        case 't': plain = '\t'; break;
        case 'u': plain = 0; break;
        default: return -1;
    }
    if (text[at + 1] != 'u') {
        *odd |= plain < 0x20;
        text[(*to)++] = plain;
        return at + 2;
    }
    if (end - at < 6) return -1;
    int32_t code = hex4(text + at + 2);
    at += 6;
    if (code < 0 || (code >= 0xDC00 && code <= 0xDFFF)) return -1;
    if (code >= 0xD800 && code <= 0xDBFF) {
        if (end - at < 6 || text[at] != '\\' || text[at + 1] != 'u') return -1;
        int32_t low = hex4(text + at + 2);
        if (low < 0xDC00 || low > 0xDFFF) return -1;
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
        at += 6;
    }
    *odd |= code < 0x20 || (code >= 0x7f && code < 0xa0);
    if (code < 0x80) {
        text[(*to)++] = (uint8_t)code;
    } else if (code < 0x800) {
        text[(*to)++] = (uint8_t)(0xC0 | (code >> 6));
        text[(*to)++] = (uint8_t)(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        text[(*to)++] = (uint8_t)(0xE0 | (code >> 12));
        text[(*to)++] = (uint8_t)(0x80 | ((code >> 6) & 0x3F));
        text[(*to)++] = (uint8_t)(0x80 | (code & 0x3F));
    } else {
        text[(*to)++] = (uint8_t)(0xF0 | (code >> 18));
        text[(*to)++] = (uint8_t)(0x80 | ((code >> 12) & 0x3F));
        text[(*to)++] = (uint8_t)(0x80 | ((code >> 6) & 0x3F));
        text[(*to)++] = (uint8_t)(0x80 | (code & 0x3F));
    }
    return at;
}

/* Follow a string whose opening quote is at `at`; return the place behind the closing quote, -1 when it is not well formed.
 * Its text, unescaped in place, is [at + 1, *stop). Without `escapes` a backslash is refused. */
static int64_t read_string(uint8_t *text, int64_t at, int64_t end, int64_t *stop, int *odd, int escapes) {
    int64_t read = at + 1;
    for (;;) {
        while (read < end && PLAIN[text[read]]) read++;
        if (read >= end) return -1;
        uint8_t byte = text[read];
        if (byte == '"') {
            *stop = read;
            return read + 1;
        }
        if (byte == '\\') break;
        if (byte < 0x20) return -1;
        *odd |= is_control(text, read);
        read++;
    }
    if (!escapes) return -1;
    int64_t to = read;
    while (read < end) {
        uint8_t byte = text[read];
        if (byte == '"') {
            *stop = to;
            return read + 1;
        }
        if (byte == '\\') {
            read = unescape(text, read, end, &to, odd);
            if (read < 0) return -1;
            continue;
        }
        if (byte < 0x20) return -1;
        *odd |= is_control(text, read);
        text[to++] = byte;
        read++;
    }
    return -1;
}

static int64_t digits(const uint8_t *text, int64_t at, int64_t end) {
    while (at < end && text[at] >= '0' && text[at] <= '9') at++;
    return at;
}

/* Return the place behind a number, -1 when there is none; JSON's form, `leading` zeros allowed in cells. */
static int64_t read_number(const uint8_t *text, int64_t at, int64_t end, int leading) {
    if (at < end && text[at] == '-') at++;
    int64_t whole = digits(text, at, end);
    if (whole == at || (!leading && text[at] == '0' && whole - at > 1)) return -1;
    at = whole;
    if (at < end && text[at] == '.') {
        int64_t fraction = digits(text, at + 1, end);
        if (fraction == at + 1) return -1;
        at = fraction;
    }
    if (at < end && (text[at] == 'e' || text[at] == 'E')) {
        int64_t sign = at + 1 < end && (text[at + 1] == '+' || text[at + 1] == '-') ? at + 2 : at + 1;
        int64_t exponent = digits(text, sign, end);
        if (exponent == sign) return -1;
        at = exponent;
    }
    return at;
}

static int64_t read_literal(const uint8_t *text, int64_t at, int64_t end, int *kind) {
    static const struct { const char *text; int length, kind; } literals[] = {
        {"true", 4, BOOLEAN}, {"false", 5, BOOLEAN}, {"null", 4, NOTHING}};
    for (int which = 0; which < 3; which++)
        if (end - at >= literals[which].length && memcmp(text + at, literals[which].text, (size_t)literals[which].length) == 0) {
            *kind = literals[which].kind;
            return at + literals[which].length;
        }
    return -1;
}

/* Copy [from, behind) down to *to. */
static void pull(uint8_t *text, int64_t from, int64_t behind, int64_t *to) {
    if (*to != from) memmove(text + *to, text + from, (size_t)(behind - from));
    *to += behind - from;
}

/* Follow any value and write its text without white space from *to on; `depth` is the level of an object or array here. */
static int64_t compact(uint8_t *text, int64_t at, int64_t end, int64_t *to, int depth, int *kind) {
    int64_t behind, stop;
    int ignored = 0;
    if (at >= end) return -1;
    uint8_t first = text[at];
    if (first == '"') {
        *kind = STRING;
        behind = read_string(text, at, end, &stop, &ignored, 0);
        if (behind > 0) pull(text, at, behind, to);
        return behind;
    }
    if (first == '-' || (first >= '0' && first <= '9')) {
        *kind = NUMBER;
        behind = read_number(text, at, end, 0);
        if (behind > 0) pull(text, at, behind, to);
        return behind;
    }
    if (first != '{' && first != '[') {
        behind = read_literal(text, at, end, kind);
        if (behind > 0) pull(text, at, behind, to);
        return behind;
    }
    if (depth > DEEPEST) return -1;
    uint8_t last = first == '{' ? '}' : ']';
    text[(*to)++] = first;
    at = skip_space(text, at + 1, end);
    if (at < end && text[at] == last) {
        text[(*to)++] = last;
        *kind = first == '{' ? OBJECT : ARRAY;
        return at + 1;
    }
    for (;;) {
        if (first == '{') {
            if (at >= end || text[at] != '"') return -1;
            behind = read_string(text, at, end, &stop, &ignored, 0);
            if (behind < 0) return -1;
            pull(text, at, behind, to);
            at = skip_space(text, behind, end);
            if (at >= end || text[at] != ':') return -1;
            text[(*to)++] = ':';
            at = skip_space(text, at + 1, end);
        }
        at = compact(text, at, end, to, depth + 1, kind);
        if (at < 0) return -1;
        at = skip_space(text, at, end);
        if (at >= end) return -1;
        if (text[at] == last) {
            text[(*to)++] = last;
            *kind = first == '{' ? OBJECT : ARRAY;
            return at + 1;
        }
        if (text[at] != ',') return -1;
        text[(*to)++] = ',';
        at = skip_space(text, at + 1, end);
    }
}

/* Follow the value of a member of `data`; its text is [*start, *stop). */
static int64_t read_value(uint8_t *text, int64_t at, int64_t end, int depth, int64_t *start, int64_t *stop, int *kind, int *odd) {
    if (at < end && text[at] == '"') {
        *kind = STRING;
        *start = at + 1;
        return read_string(text, at, end, stop, odd, 1);
    }
    int64_t to = at;
    *start = at;
    int64_t behind = compact(text, at, end, &to, depth, kind);
    *stop = to;
    return behind;
}

/* Learn in passing what the rules would have to look for in a text. */
static void look_at(Line *line, int bit, const uint8_t *text, int64_t start, int64_t stop, int odd) {
    line->odd |= odd | is_odd(text, start, stop);
    if (is_sure(line->sheet->name[bit].form, text, start, stop)) line->sure |= (uint64_t)1 << bit;
}

/* Return the view of a row; those of the rows before it that have none become empty. */
static uint8_t *view_of(const Scan *scan, Sheet *sheet, int bit, int64_t row) {
    uint8_t *column = sheet->views + 16 * (int64_t)bit * scan->room;
    int64_t *written = &sheet->written[bit];
    if (*written < row) {
        memset(column + 16 * *written, 0, 16 * (size_t)(row - *written));
        *written = row;
    }
    return column + 16 * row;
}

static void put(Line *line, const Scan *scan, int bit, int64_t start, int64_t stop) {
    Sheet *sheet = line->sheet;
    write_view(view_of(scan, sheet, bit, sheet->count), scan->text, start, stop - start);
    sheet->written[bit] = sheet->count + 1;
}

/* Keep a field that the category does not know; 0 when the line is better left: too many, or one twice. */
static int put_unknown(Scan *scan, Line *line, int64_t name, int64_t name_stop, int64_t start, int64_t stop, int is_null) {
    if (line->unknown == MOST_UNKNOWN || scan->unknown + line->unknown == scan->unknown_room) return 0;
    int64_t at = scan->unknown + line->unknown;
    uint8_t view[16];
    write_view(view, scan->text, name, name_stop - name);
    for (int64_t other = scan->unknown; other < at; other++) {
        uint32_t length, offset;
        memcpy(&length, scan->unknown_names + 16 * other, 4);
        if ((int64_t)length != name_stop - name) continue;
        const uint8_t *text = scan->unknown_names + 16 * other + 4;
        if (length > INLINE_TEXT) {
            memcpy(&offset, scan->unknown_names + 16 * other + 12, 4);
            text = scan->text + offset;
        }
        if (memcmp(text, scan->text + name, length) == 0) return 0;
    }
    memcpy(scan->unknown_names + 16 * at, view, 16);
    if (!is_null) write_view(scan->unknown_values + 16 * at, scan->text, start, stop - start);
    else memset(scan->unknown_values + 16 * at, 0, 16);
    scan->unknown_null[at] = (uint8_t)is_null;
    scan->unknown_sheets[at] = (uint8_t)line->number;
    scan->unknown_rows[at] = line->row;
    line->unknown++;
    return 1;
}

static void take(Scan *scan, Line *line) {
    Sheet *sheet = line->sheet;
    int64_t at = sheet->count++;
    sheet->rows[at] = line->row;
    sheet->sent[at] = line->sent;
    sheet->null[at] = line->null;
    sheet->wrong[at] = line->wrong;
    sheet->sure[at] = line->sure;
    sheet->odd[at] = (uint8_t)(line->odd != 0);
    sheet->ever |= line->sent & ~line->null;
    scan->unknown += line->unknown;
}

static void forget(const Line *line) {
    Sheet *sheet = line->sheet;
    if (sheet == NULL) return;
    for (int bit = 0; bit < sheet->names; bit++)
        if (sheet->written[bit] > sheet->count) sheet->written[bit] = sheet->count;
}

/* Give the last rows of every column that has a text their empty views. */
static void fill_up(Scan *scan) {
    for (int number = 0; number < scan->sheets; number++) {
        Sheet *sheet = &scan->sheet[number];
        for (int bit = 0; bit < sheet->names; bit++)
            if (sheet->ever >> bit & 1) view_of(scan, sheet, bit, sheet->count);
    }
}

/* Follow one member of `data` whose key's quote is at `at`; return the place behind its value, -1 when the line is left. */
static int64_t read_member(Scan *scan, Line *line, int64_t at, int64_t end, int other) {
    uint8_t *text = scan->text;
    int64_t name_stop, start, stop;
    int kind, odd = 0, ignored = 0;
    int64_t name = at + 1;
    at = read_string(text, at, end, &name_stop, &ignored, 0);
    if (at < 0) return -1;
    at = skip_space(text, at, end);
    if (at >= end || text[at] != ':') return -1;
    at = skip_space(text, at + 1, end);
    at = read_value(text, at, end, 3, &start, &stop, &kind, &odd);
    if (at < 0) return -1;
    int bit = find_name(line->sheet, text + name, name_stop - name);
    if (bit < 0) {
        if (other && name_stop - name == 4 && memcmp(text + name, "kind", 4) == 0) {
            /* The exact reader says what another kind, or a second one, means. */
            int is_loan = kind == STRING && stop - start == 4 && memcmp(text + start, "loan", 4) == 0;
            if (line->odd & 2 || !(is_loan || kind == NOTHING)) return -1;
            line->odd |= 2;
            return at;
        }
        return put_unknown(scan, line, name, name_stop, start, stop, kind == NOTHING) ? at : -1;
    }
    uint64_t mask = (uint64_t)1 << bit;
    if (line->sent & mask) return -1;
    line->sent |= mask;
    if (kind == NOTHING) {
        line->null |= mask;
        return at;
    }
    if (kind != line->sheet->name[bit].kind) line->wrong |= mask;
    if (kind == STRING) look_at(line, bit, text, start, stop, odd);
    put(line, scan, bit, start, stop);
    return at;
}

static int64_t read_key(Scan *scan, int64_t at, int64_t end, const char *wanted) {
    int64_t length = (int64_t)strlen(wanted);
    if (end - at < length + 2 || scan->text[at] != '"' || memcmp(scan->text + at + 1, wanted, (size_t)length) != 0 ||
        scan->text[at + 1 + length] != '"')
        return -1;
    at = skip_space(scan->text, at + length + 2, end);
    if (at >= end || scan->text[at] != ':') return -1;
    return skip_space(scan->text, at + 1, end);
}

/* Read an envelope of `category` and `data`, in this order, with nothing else in it. */
static int read_json_line(Scan *scan, Line *line, int64_t at, int64_t end) {
    uint8_t *text = scan->text;
    int64_t stop;
    int odd = 0;
    if (text[at] != '{') return 0;
    at = read_key(scan, skip_space(text, at + 1, end), end, "category");
    if (at < 0 || at >= end || text[at] != '"') return 0;
    int64_t name = at + 1;
    at = read_string(text, at, end, &stop, &odd, 0);
    if (at < 0) return 0;
    const Category *category = find_category(scan, text + name, stop - name);
    if (category == NULL) return 0;
    line->number = category->sheet;
    line->sheet = &scan->sheet[category->sheet];
    at = skip_space(text, at, end);
    if (at >= end || text[at] != ',') return 0;
    at = read_key(scan, skip_space(text, at + 1, end), end, "data");
    if (at < 0 || at >= end || text[at] != '{') return 0;
    at = skip_space(text, at + 1, end);
    if (at < end && text[at] != '}') {
        for (;;) {
            if (at >= end || text[at] != '"') return 0;
            at = read_member(scan, line, at, end, category->other);
            if (at < 0) return 0;
            at = skip_space(text, at, end);
            if (at >= end) return 0;
            if (text[at] == '}') break;
            if (text[at] != ',') return 0;
            at = skip_space(text, at + 1, end);
        }
    }
    if (at >= end) return 0;
    at = skip_space(text, at + 1, end);
    if (at >= end || text[at] != '}') return 0;
    return at + 1 == end;
}

/* The columns of a CSV, and what each is in each sheet. */
typedef struct {
    int count;
    int category, kind;
    const char *name[MAX_COLUMNS];
    Py_ssize_t length[MAX_COLUMNS];
    int64_t name_at[MAX_COLUMNS];
    int8_t bit[MAX_SHEETS][MAX_COLUMNS];
    int64_t start[MAX_COLUMNS], stop[MAX_COLUMNS];
} Columns;

/* Part a line into cells; 0 when it is not one whole plain record. */
static int part_cells(uint8_t *text, int64_t at, int64_t end, Columns *columns) {
    for (int cell = 0;; cell++) {
        if (cell == columns->count) return 0;
        if (at < end && text[at] == '"') {
            int64_t read = at + 1, to = at + 1;
            for (;;) {
                while (read < end && text[read] != '"' && text[read] != '\r') {
                    if (to != read) text[to] = text[read];
                    to++, read++;
                }
                if (read >= end || text[read] == '\r') return 0;
                if (read + 1 < end && text[read + 1] == '"') {
                    text[to++] = '"';
                    read += 2;
                    continue;
                }
                break;
            }
            columns->start[cell] = at + 1;
            columns->stop[cell] = to;
            at = read + 1;
        } else {
            columns->start[cell] = at;
            while (at < end && text[at] != ',') {
                if (text[at] == '"' || text[at] == '\r') return 0;
                at++;
            }
            columns->stop[cell] = at;
        }
        if (at == end) return cell + 1 == columns->count;
        if (text[at] != ',') return 0;
        at++;
    }
}

static int is_null_cell(const uint8_t *text, int64_t start, int64_t stop) {
    return stop - start == 2 && text[start] == '\\' && text[start + 1] == 'N';
}

/* Put a cell of a known field; 0 when the line is better left. */
static int put_cell(Scan *scan, Line *line, int bit, int64_t start, int64_t stop) {
    uint8_t *text = scan->text;
    uint64_t mask = (uint64_t)1 << bit;
    line->sent |= mask;
    if (is_null_cell(text, start, stop)) {
        line->null |= mask;
        return 1;
    }
    int kind = line->sheet->name[bit].kind, odd = 0, read = 0;
    int64_t length = stop - start, to = start;
    switch (kind) {
        case NUMBER:
            if (read_number(text, start, stop, 1) != stop) line->wrong |= mask;
            break;
        case BOOLEAN: {
            char lower[5] = {0};
            for (int at = 0; at < 5 && at < length; at++) lower[at] = (char)(text[start + at] | 0x20);
            int is_boolean = (length == 4 && memcmp(lower, "true", 4) == 0) || (length == 5 && memcmp(lower, "false", 5) == 0);
            if (is_boolean) memcpy(text + start, lower, (size_t)length);
            else line->wrong |= mask;
            break;
        }
        case OBJECT:
            if (text[start] != '{' || compact(text, start, stop, &to, 1, &read) != stop || read != OBJECT) return 0;
            stop = to;
            break;
        default:
            for (int64_t at = start; at < stop; at++) odd |= is_control(text, at);
            look_at(line, bit, text, start, stop, odd);
    }
    put(line, scan, bit, start, stop);
    return 1;
}

static int read_csv_line(Scan *scan, Line *line, int64_t at, int64_t end, Columns *columns) {
    uint8_t *text = scan->text;
    if (!part_cells(text, at, end, columns)) return 0;
    const Category *category = &scan->category[0];
    int other = 0;
    if (columns->category >= 0) {
        int64_t start = columns->start[columns->category], stop = columns->stop[columns->category];
        if (start < stop && !is_null_cell(text, start, stop)) {
            category = find_category(scan, text + start, stop - start);
            if (category == NULL) return 0;
        }
    }
    if (category->other && columns->kind >= 0) {
        int64_t start = columns->start[columns->kind], stop = columns->stop[columns->kind];
        other = 1;
        if (start < stop && !is_null_cell(text, start, stop) && !(stop - start == 4 && memcmp(text + start, "loan", 4) == 0)) return 0;
    }
    line->number = category->sheet;
    line->sheet = &scan->sheet[category->sheet];
    for (int column = 0; column < columns->count; column++) {
        int64_t start = columns->start[column], stop = columns->stop[column];
        if (start == stop || column == columns->category || (other && column == columns->kind)) continue;
        int bit = columns->bit[category->sheet][column];
        if (bit >= 0) {
            if (!put_cell(scan, line, bit, start, stop)) return 0;
            continue;
        }
        int64_t name = columns->name_at[column];
        int is_null = is_null_cell(text, start, stop);
        if (!put_unknown(scan, line, name, name + columns->length[column], start, stop, is_null)) return 0;
    }
    return 1;
}

static void read_lines(Scan *scan, Columns *columns) {
    uint8_t *text = scan->text;
    int64_t at = scan->low;
    while (at < scan->high && scan->lines < scan->room) {
        const uint8_t *feed = memchr(text + at, '\n', (size_t)(scan->high - at));
        int64_t next = feed ? feed - text + 1 : scan->high;
        int64_t end = feed ? next - 1 : next;
        if (feed && end > at && text[end - 1] == '\r') end--;
        int64_t number = scan->lines++;
        scan->starts[number] = at;
        scan->ends[number] = end;
        scan->nexts[number] = next;
        Line line = {.row = number};
        int taken = 0;
        if (end > at && end - at <= MAX_RECORD && (scan->ascii || is_utf8(text, at, end))) {
            int64_t first = at;
            while (first < end && (text[first] == ' ' || (text[first] >= '\t' && text[first] <= '\r'))) first++;
            if (first < end)
                taken = columns ? read_csv_line(scan, &line, at, end, columns) : first == at && read_json_line(scan, &line, at, end);
        }
        if (taken) {
            line.odd &= 1;
            take(scan, &line);
        } else {
            forget(&line);
            scan->left[scan->lefts++] = number;
        }
        at = next;
    }
    fill_up(scan);
}

/* --- what Python hands over --- */

typedef struct {
    Py_buffer held[MAX_SHEETS * 7 + 16];
    int count;
} Buffers;

static void *borrow(Buffers *buffers, PyObject *object, int64_t at_least) {
    Py_buffer *view = &buffers->held[buffers->count];
    if (PyObject_GetBuffer(object, view, PyBUF_WRITABLE | PyBUF_C_CONTIGUOUS) < 0) return NULL;
    buffers->count++;
    if ((int64_t)view->len < at_least) {
        PyErr_Format(PyExc_ValueError, "a buffer has %zd bytes, wanted %lld", view->len, (long long)at_least);
        return NULL;
    }
    return view->buf;
}

static int read_names(Sheet *sheet, PyObject *names) {
    Py_ssize_t count = PyTuple_Size(names);
    if (count < 0 || count > MAX_NAMES) {
        PyErr_SetString(PyExc_ValueError, "wanted at most 63 names a sheet");
        return -1;
    }
    sheet->names = (int)count;
    for (Py_ssize_t at = 0; at < count; at++) {
        Name *name = &sheet->name[at];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(names, at), "y#ii", &name->text, &name->length, &name->kind, &name->form)) return -1;
        unsigned slot = hash_name((const uint8_t *)name->text, name->length);
        while (sheet->slot[slot]) slot = (slot + 1) & (SLOTS - 1);
        sheet->slot[slot] = (uint8_t)(at + 1);
    }
    return 0;
}

static int read_sheet(Sheet *sheet, PyObject *given, Buffers *buffers, int64_t room) {
    PyObject *names, *rows, *sent, *null, *wrong, *sure, *odd, *views;
    if (!PyArg_ParseTuple(given, "O!OOOOOOO", &PyTuple_Type, &names, &rows, &sent, &null, &wrong, &sure, &odd, &views)) return -1;
    if (read_names(sheet, names) < 0) return -1;
    if (!(sheet->rows = borrow(buffers, rows, 8 * room)) || !(sheet->sent = borrow(buffers, sent, 8 * room)) ||
        !(sheet->null = borrow(buffers, null, 8 * room)) || !(sheet->wrong = borrow(buffers, wrong, 8 * room)) ||
        !(sheet->sure = borrow(buffers, sure, 8 * room)) || !(sheet->odd = borrow(buffers, odd, room)) ||
        !(sheet->views = borrow(buffers, views, 16 * room * sheet->names)))
        return -1;
    return 0;
}

static int read_columns(Scan *scan, Columns *columns, PyObject *given) {
    Py_ssize_t count = PyTuple_Size(given);
    if (count < 0 || count > MAX_COLUMNS) {
        PyErr_SetString(PyExc_ValueError, "wanted at most 1024 columns");
        return -1;
    }
    columns->count = (int)count;
    columns->category = columns->kind = -1;
    for (int at = 0; at < (int)count; at++) {
        long long place;
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(given, at), "y#L", &columns->name[at], &columns->length[at], &place)) return -1;
        if (place < 0 || place + columns->length[at] > scan->size) {
            PyErr_SetString(PyExc_ValueError, "a column's name is not in the text");
            return -1;
        }
        columns->name_at[at] = place;
        if (columns->length[at] == 8 && memcmp(columns->name[at], "category", 8) == 0) columns->category = at;
        if (columns->length[at] == 4 && memcmp(columns->name[at], "kind", 4) == 0) columns->kind = at;
        for (int sheet = 0; sheet < scan->sheets; sheet++)
            columns->bit[sheet][at] = (int8_t)find_name(&scan->sheet[sheet], (const uint8_t *)columns->name[at], columns->length[at]);
    }
    return 0;
}

static int read_arguments(PyObject *args, Scan *scan, PyObject **columns, Buffers *buffers) {
    PyObject *text, *lines, *left, *categories, *sheets, *unknown;
    PyObject *unknown_rows, *unknown_sheets, *unknown_null, *unknown_names, *unknown_values;
    long long low, high, room, unknown_room;
    if (!PyArg_ParseTuple(args, "OLLpLOOO!O!O!O", &text, &low, &high, &scan->ascii, &room, &lines, &left, &PyTuple_Type, &categories,
                          &PyTuple_Type, &sheets, &PyTuple_Type, &unknown, columns))
        return -1;
    scan->low = low, scan->high = high, scan->room = room;
    if (low < 0 || high < low || high > INT32_MAX || room < 0) {
        PyErr_SetString(PyExc_ValueError, "wanted 0 <= low <= high < 2**31 and no negative room");
        return -1;
    }
    if (!(scan->text = borrow(buffers, text, high)) || !(scan->starts = borrow(buffers, lines, 24 * room)) ||
        !(scan->left = borrow(buffers, left, 8 * room)))
        return -1;
    scan->size = buffers->held[0].len;
    scan->ends = scan->starts + room, scan->nexts = scan->ends + room;
    if (!PyArg_ParseTuple(unknown, "LOOOOO", &unknown_room, &unknown_rows, &unknown_sheets, &unknown_null, &unknown_names,
                          &unknown_values))
        return -1;
    scan->unknown_room = unknown_room;
    if (!(scan->unknown_rows = borrow(buffers, unknown_rows, 8 * unknown_room)) ||
        !(scan->unknown_sheets = borrow(buffers, unknown_sheets, unknown_room)) ||
        !(scan->unknown_null = borrow(buffers, unknown_null, unknown_room)) ||
        !(scan->unknown_names = borrow(buffers, unknown_names, 16 * unknown_room)) ||
        !(scan->unknown_values = borrow(buffers, unknown_values, 16 * unknown_room)))
        return -1;
    Py_ssize_t count = PyTuple_GET_SIZE(sheets), spelled = PyTuple_GET_SIZE(categories);
    if (count > MAX_SHEETS || spelled > 16 || spelled < 1) {
        PyErr_SetString(PyExc_ValueError, "wanted at most 8 sheets and 1 to 16 categories");
        return -1;
    }
    for (scan->sheets = 0; scan->sheets < (int)count; scan->sheets++)
        if (read_sheet(&scan->sheet[scan->sheets], PyTuple_GET_ITEM(sheets, scan->sheets), buffers, room) < 0) return -1;
    for (scan->categories = 0; scan->categories < (int)spelled; scan->categories++) {
        Category *category = &scan->category[scan->categories];
        if (!PyArg_ParseTuple(PyTuple_GET_ITEM(categories, scan->categories), "y#ip", &category->text, &category->length,
                              &category->sheet, &category->other))
            return -1;
        if (category->sheet < 0 || category->sheet >= scan->sheets) {
            PyErr_SetString(PyExc_ValueError, "a category names no sheet");
            return -1;
        }
    }
    return 0;
}

static PyObject *outcome(const Scan *scan) {
    PyObject *counts = PyTuple_New(scan->sheets), *result;
    if (counts == NULL) return NULL;
    for (int at = 0; at < scan->sheets; at++) {
        PyObject *pair = Py_BuildValue("LK", (long long)scan->sheet[at].count, (unsigned long long)scan->sheet[at].ever);
        if (pair == NULL) {
            Py_DECREF(counts);
            return NULL;
        }
        PyTuple_SET_ITEM(counts, at, pair);
    }
    result = Py_BuildValue("LLLN", (long long)scan->lines, (long long)scan->lefts, (long long)scan->unknown, counts);
    return result;
}

static PyObject *scan_lines(PyObject *module, PyObject *args) {
    (void)module;
    PyObject *given = NULL, *result = NULL;
    Buffers buffers = {.count = 0};
    Scan *scan = PyMem_Calloc(1, sizeof(Scan));
    Columns *columns = PyMem_Calloc(1, sizeof(Columns));
    if (scan == NULL || columns == NULL) {
        PyErr_NoMemory();
    } else if (read_arguments(args, scan, &given, &buffers) == 0 && (given == Py_None || read_columns(scan, columns, given) == 0)) {
        Py_BEGIN_ALLOW_THREADS
        read_lines(scan, given == Py_None ? NULL : columns);
        Py_END_ALLOW_THREADS
        result = outcome(scan);
    }
    for (int at = 0; at < buffers.count; at++) PyBuffer_Release(&buffers.held[at]);
    PyMem_Free(scan);
    PyMem_Free(columns);
    return result;
}

enum { LANES = 64, ROUNDS = 255 };

/* Each lane counts in a byte of its own, so that many bytes are compared at once; a byte is full after ROUNDS. */
static int64_t feeds_in(const uint8_t *byte, const uint8_t *end) {
    int64_t found = 0;
    while (end - byte >= LANES) {
        uint8_t lanes[LANES] = {0};
        for (int round = 0; round < ROUNDS && end - byte >= LANES; round++, byte += LANES) {
            for (int lane = 0; lane < LANES; lane++) lanes[lane] += byte[lane] == '\n';
        }
        for (int lane = 0; lane < LANES; lane++) found += lanes[lane];
    }
    for (; byte < end; byte++) found += *byte == '\n';
    return found;
}

static PyObject *count_feeds(PyObject *module, PyObject *args) {
    (void)module;
    Py_buffer data;
    Py_ssize_t low, high;
    if (!PyArg_ParseTuple(args, "y*nn", &data, &low, &high)) return NULL;
    if (low < 0 || high < low || high > data.len) {
        PyBuffer_Release(&data);
        return PyErr_Format(PyExc_ValueError, "bytes %zd to %zd are not within %zd", low, high, data.len);
    }
    const uint8_t *bytes = data.buf;
    int64_t found;
    Py_BEGIN_ALLOW_THREADS
    found = feeds_in(bytes + low, bytes + high);
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    return PyLong_FromLongLong(found);
}

static PyMethodDef METHODS[] = {
    {"scan", scan_lines, METH_VARARGS, "Read lines into sheets; see _lines.pyi."},
    {"count_feeds", count_feeds, METH_VARARGS, "Count LF within a range of bytes."},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef MODULE = {PyModuleDef_HEAD_INIT, "_lines", NULL, 0, METHODS, NULL, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__lines(void) {
    for (int byte = 0; byte < 256; byte++) PLAIN[byte] = byte >= 0x20 && byte < 0x7f && byte != '"' && byte != '\\';
    PyObject *module = PyModule_Create(&MODULE);
    if (module != NULL && PyModule_AddIntMacro(module, MAX_COLUMNS) < 0) Py_CLEAR(module);
    return module;
}
