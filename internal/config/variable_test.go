package config

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// odd holds each character that means something to TOML, to a shell or here.
const odd = `a"b'c\d$e{f}g${T}h#i = [j] """k''' ${l`

func TestVariables(t *testing.T) {
	vars := map[string]string{
		"T": "t0k3n", "ODD": odd, "PART": "k3", "EMPTY": "", "_low.dash-9": "x", "NUMBER": "12345",
	}
	for _, tt := range []struct{ name, text, want string }{
		{"bare", "token = ${T}", "t0k3n"},
		{"bare, no blanks", "token=${T}#${NOT_SET}", "t0k3n"},
		{"bare, a tab and a comment", "token\t=\t${T}\t# ${NOT_SET}", "t0k3n"},
		{"basic string", `token = "${T}"`, "t0k3n"},
		{"literal string", `token = '${T}'`, "t0k3n"},
		{"basic string of many lines", "token = \"\"\"\n${T}\"\"\"", "t0k3n"},
		{"literal string of many lines", "token = '''\n${T}'''", "t0k3n"},
		{"string of many lines that ends with quotes", `token = """"${T}"""""`, `"t0k3n""`},
		{"literal of many lines that ends with quotes", `token = ''''${T}'''''`, `'t0k3n''`},
		{"a part of a string", `token = "to${PART}n-${PART}"`, "tok3n-k3"},
		{"side by side", `token = "${PART}${PART}"`, "k3k3"},
		{"odd characters, bare", "token = ${ODD}", odd},
		{"odd characters, basic string", `token = "${ODD}"`, odd},
		{"odd characters, literal string", `token = '${ODD}'`, odd},
		{"odd characters, strings of many lines", `token = """${ODD}"""`, odd},
		{"a number is text where text is wanted", "token = ${NUMBER}", "12345"},
		{"a name with dots and dashes", "token = ${_low.dash-9}", "x"},
		{"without braces", `token = "$T $PART$"`, "$T $PART$"},
		{"dollars before braces", `token = "$${T}"`, "$t0k3n"},
		{"an escaped quote before it", `token = "\"${T}"`, `"t0k3n`},
		{"an escaped backslash at the end", `token = "\\" # "${NOT_SET}"`, `\`},
		{"a literal with a backslash at the end", `token = '\' # '${NOT_SET}'`, `\`},
		{"an empty string before", "endpoint = 'http://h'\nx = \"\"\ny = ''\ntoken = ${T}", "t0k3n"},
		{"never in comments", "# ${NOT_SET}\ntoken = 't0k3n' # ${NOT_SET} \" ' \"\"\" '''", "t0k3n"},
		{"not in an unknown key", "colour = ${NOT_SET}\ntoken = ${T}", "t0k3n"},
		{"after an array", "x = [ # ]\n'[',\n1 ]\ntoken = ${T}", "t0k3n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parse("config.cfg", []byte("[report]\n"+tt.text), environment(vars))
			if err != nil || got.Token.Reveal() != tt.want {
				t.Errorf("%s: got token %q, %v, want %q", tt.text, got.Token.Reveal(), err, tt.want)
			}
		})
	}
}

func TestVariablesTakeTheTypeOfTheirKey(t *testing.T) {
	lookup := environment(map[string]string{
		"LEVEL": "debug", "URL": "https://h/v1/", "HOST": "h", "T": "12345", "SECONDS": "60", "CAP": " 1000\n",
	})
	for _, text := range []string{
		"[server]\nlog_level = ${LEVEL}\n[report]\nendpoint = ${URL}\ntoken = ${T}\n[probe]\ninterval = ${SECONDS}\nworkers = ${CAP}",
		"[server]\nlog_level = '${LEVEL}'\n[report]\nendpoint = 'https://${HOST}/v1'\ntoken = '${T}'\n[probe]\ninterval = '${SECONDS}'\nworkers = '${CAP}'",
		"server.log_level=${LEVEL}\r\nreport.endpoint\t= ${URL}\r\n\"report\" . token = ${T}\r\nprobe.interval =\t${SECONDS} \r\nprobe.workers = ${CAP}#\r\n",
		"server = {log_level = '${LEVEL}'}\nreport = {endpoint='${URL}',token='${T}'}\nprobe = { interval = '${SECONDS}' , workers = '${CAP}'}",
	} {
		got, err := parse("config.cfg", []byte(text), lookup)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		want := Config{
			Path: "config.cfg", Level: logrus.DebugLevel, Endpoint: "https://h/v1", Token: NewSecret("12345"),
			Interval: time.Minute, Promise: time.Minute, Workers: 1000, Cluster: Cluster{Engine: NoEngine},
		}
		if !equal(got, want) {
			t.Errorf("%s: got %+v, want %+v", text, got, want)
		}
	}
}

// No complaint may show what a variable holds: any of them may be the token.
func TestVariableComplaints(t *testing.T) {
	const secret = "s3cr3t-9f3c"
	lookup := environment(map[string]string{"SECRET": secret, "EMPTY": "", "BREAK": secret + "\n", "LARGE": "4242424242"})
	const unset = "is not set, want it in the environment of the daemon"
	for _, tt := range []struct {
		name, text string
		want       []string
	}{
		{"not set", "report.token = ${T}", []string{"report.token: variable T " + unset}},
		{"not set, in quotes", "report.token = 'a${T}b${U}'", []string{"report.token: variable T " + unset, "report.token: variable U " + unset}},
		{"not set, each key", "report.token = ${T}\nprobe.interval = ${I}\nprobe.ca_file = ${C}", []string{
			"report.token: variable T " + unset, "probe.interval: variable I " + unset, "probe.ca_file: variable C " + unset}},
		{"empty", "report.token = ${EMPTY}", []string{"report.token: empty, " + wantToken}},
		{"with a line break", "report.token = ${BREAK}", []string{"report.token: has a control character in it, such as a line break or a tab, " + wantToken}},
		{"no number", "probe.interval = ${SECRET}\nreport." + token, []string{`probe.interval: "${SECRET}" holds no whole number, want 1 to 3600 seconds`}},
		{"out of range", "probe.interval = ${LARGE}\nreport." + token, []string{`probe.interval: "${LARGE}" is out of range, want 1 to 3600 seconds`}},
		{"no level", "server.log_level = ${SECRET}\nreport." + token, []string{`server.log_level: "${SECRET}" is no level, want debug, info, warn or error`}},
		{"no URL", "report.endpoint = ${SECRET}\nreport." + token, []string{`report.endpoint: "${SECRET}" is neither http:// nor https://, ` + wantURL}},
		{"no file", "report.token_file = ${SECRET}", []string{"report.token_file: the file: no such file or directory, " + wantFile}},
		{"no file in a folder", "report.token_file = '/${SECRET}/t'", []string{`report.token_file: "/${SECRET}/t": no such file or directory, ` + wantFile}},
		{"no such certificates", "probe.ca_file = ${SECRET}\nreport." + token, []string{`probe.ca_file: "${SECRET}": no such file or directory, ` + wantFile}},
		{"a default", "report.token = '${T:-none}'", []string{`report.token: "${" that begins no variable, want ${NAME} with letters, digits and underscores in NAME`}},
		{"never closed", "report.token = '${T'", []string{`report.token: "${" that begins no variable, want ${NAME} with letters, digits and underscores in NAME`}},
		{"bare in an inline table", "report = {token = ${SECRET}}", []string{"line 1: expected value but found '$' instead, " + wantTOML}},
		{"bare in an array", "report.token = [${SECRET}]", []string{"line 1: expected value but found '$' instead, " + wantTOML}},
		{"after a NUL", `report.token = "\u0000a${SECRET}"`, []string{"report.token: has a control character in it, such as a line break or a tab, " + wantToken}},
		{"joined to text, bare", "report.token = ${SECRET}x", []string{"line 1: expected value but found '$' instead, " + wantTOML}},
		{"in a key", "${SECRET} = 3", []string{"line 1: expected '.' or '=', but got '$' instead, " + wantTOML}},
		{"in the name of a table", "[${SECRET}]", []string{"line 1: expected '.' or ']' to end table name, but got '$' instead, " + wantTOML}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := parse("config.cfg", []byte(tt.text), lookup)
			if got := complaints(t, err, "config.cfg"); !slices.Equal(got, tt.want) {
				t.Errorf("%s:\ngot  %q\nwant %q", tt.text, got, tt.want)
			}
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: got the variable's content in %q, want it nowhere", tt.text, err)
			}
		})
	}
}

// A variable that holds a quoted TOML string is that string where it is bare:
// with the original no other form worked. In quotes its characters stay.
func TestVariablesThatHoldAQuotedString(t *testing.T) {
	for _, tt := range []struct{ name, content, want string }{
		{"basic", `"abc"`, "abc"},
		{"literal", `'abc'`, "abc"},
		{"basic, escapes", `"a\"b\\c\u00e9\U0001f600"`, `a"b\cé😀`},
		{"basic, an escape that hides a quote", `"abc\\"`, `abc\`},
		{"basic, a literal's quotes in it", `"'abc'"`, `'abc'`},
		{"literal, no escapes", `'a\"b\n'`, `a\"b\n`},
		{"literal, a basic one's quotes in it", `'"abc"'`, `"abc"`},
		{"of many lines, basic", `"""a"b""c\
		   d"""`, `a"b""cd`},
		{"of many lines, basic, quotes at its end", `"""a"""""`, `a""`},
		{"of many lines, literal", `'''a'b\''''`, `a'b\'`},
		{"blanks around it", " \t\"abc\"\n", "abc"},
		{"a variable's name in it", `"a${T}"`, "a${T}"},
		{"the sample of a comment in it", `"a # b"`, "a # b"},

		{"no quotes", "abc", "abc"},
		{"a quote at the beginning", `"abc`, `"abc`},
		{"a quote at the end", `abc"`, `abc"`},
		{"one quote", `"`, `"`},
		{"two kinds", `"abc'`, `"abc'`},
		{"the closing one escaped", `"abc\"`, `"abc\"`},
		{"an escape that TOML does not know", `"a\qc"`, `"a\qc"`},
		{"a quote in the middle", `"a"b"`, `"a"b"`},
		{"two strings", `"a" "b"`, `"a" "b"`},
		{"two in a list", `"a", "b"`, `"a", "b"`},
		{"a comment after it", `"abc" # "`, `"abc" # "`},
		{"more TOML after it, in quotes", `"abc" = "d"`, `"abc" = "d"`},
		{"quotes of the typographer", "“abc”", "“abc”"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			lookup := environment(map[string]string{"T": tt.content})
			got, err := parse("config.cfg", []byte("[report]\ntoken = ${T} # it\n"), lookup)
			if err != nil || got.Token.Reveal() != tt.want {
				t.Errorf("bare: got token %q, %v, want %q", got.Token.Reveal(), err, tt.want)
			}
			if strings.ContainsAny(tt.content, "\t\n") {
				return // in quotes that is no token
			}
			for _, quoted := range []string{`"${T}"`, `'${T}'`, `"""${T}"""`, `'''${T}'''`} {
				got, err := parse("config.cfg", []byte("[report]\ntoken = "+quoted), lookup)
				if err != nil || got.Token.Reveal() != tt.content {
					t.Errorf("in %s: got token %q, %v, want %q", quoted, got.Token.Reveal(), err, tt.content)
				}
			}
		})
	}
}

func TestQuotedVariablesOfEveryKey(t *testing.T) {
	lookup := environment(map[string]string{"LEVEL": `"debug"`, "URL": `'https://h/v1/'`, "T": `"12345"`, "SECONDS": `"60"`, "CAP": `'1000'`})
	got, err := parse("config.cfg", []byte("[server]\nlog_level = ${LEVEL}\n[report]\nendpoint = ${URL}\ntoken = ${T}\n[probe]\ninterval = ${SECONDS}\nworkers = ${CAP}"), lookup)
	if err != nil {
		t.Fatal(err)
	}
	want := Config{
		Path: "config.cfg", Level: logrus.DebugLevel, Endpoint: "https://h/v1", Token: NewSecret("12345"),
		Interval: time.Minute, Promise: time.Minute, Workers: 1000, Cluster: Cluster{Engine: NoEngine},
	}
	if !equal(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// Only a bare variable that is the value of a key is quoted: what stands in a
// string or a comment, or where a key does, stays as it is, and every line stays
// on its line.
func TestQuoteVariables(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"value", "a = ${A}", `a = "\u0000${A}"`},
		{"no blanks", "a-b_3=${A}", `a-b_3="\u0000${A}"`},
		{"value at the end of a line", "a = ${A}\r\n\tb.c =\t${B}", "a = \"\\u0000${A}\"\r\n\tb.c =\t\"\\u0000${B}\""},
		{"quoted key", `"a" . 'b' = ${A}`, `"a" . 'b' = "\u0000${A}"`},
		{"before a comment", "a = ${A}# ${B}", `a = "\u0000${A}"# ${B}`},
		{"array", "a = [${A}]", "a = [${A}]"},
		{"inline table", "a = {b = ${B}}", "a = {b = ${B}}"},
		{"key after a missing value", "a =\n${A} = 1", "a =\n${A} = 1"},
		{"name of a table", "[${A}]", "[${A}]"},
		{"comment", "a = # = ${A}\n#b = ${B}", "a = # = ${A}\n#b = ${B}"},
		{"basic string", `a = "= ${A} \" = ${A} "`, `a = "= ${A} \" = ${A} "`},
		{"literal string", `a = '= ${A} " = ${A}'`, `a = '= ${A} " = ${A}'`},
		{"string of many lines", "a = \"\"\"= ${A}\n${A}\"\"\"", "a = \"\"\"= ${A}\n${A}\"\"\""},
		{"joined to text", "a = ${A}b", "a = ${A}b"},
		{"two", "a = ${A}${B}", "a = ${A}${B}"},
		{"no name", "a = ${}", "a = ${}"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if got := quoteVariables(tt.text); got != tt.want {
				t.Errorf("%q: got %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestQuotedKeysAreNotExpanded(t *testing.T) {
	got, err := parse("config.cfg", []byte("'${SECRET}' = 3\nreport."+token), environment(map[string]string{"SECRET": "s3cr3t"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(got.Warnings) != 1 || !strings.Contains(got.Warnings[0], `"${SECRET}" is unknown`) {
		t.Errorf(`got warnings %q, want one about "${SECRET}"`, got.Warnings)
	}
}
