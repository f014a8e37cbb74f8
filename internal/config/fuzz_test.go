package config

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/sirupsen/logrus"
)

// FuzzParse holds what every file must hold to, whatever is in it: there are
// complaints or all settings are in range, each complaint is one line, and what
// a variable or the token holds is in none.
func FuzzParse(f *testing.F) {
	sample, err := os.ReadFile("../../config.cfg")
	if err != nil {
		f.Fatal(err)
	}
	const content = "9f3c-variable\"'\\${X}\n-9f3c"
	for _, seed := range []string{
		string(sample),
		"",
		"[report]\ntoken = \"9f3c-literal-9f3c\"\n[probe]\ninterval = 60\nworkers = 10",
		"[report]\ntoken = ${T}\nendpoint = ${E}\n[probe]\ninterval = ${I}\nca_file = '/dev/null'",
		"[report]\ntoken = 9f3c-literal-9f3c",
		"[report]\ntoken = true9f3c-literal-9f3c",
		"[report]\ntoken = \"9f3c-literal-9f3c",
		"report = 3\nprobe = [${A}, {b = ${B}}]\nserver.log_level = 'INFO'",
		"[[report]]\ntoken = '9f3c-literal-9f3c'\n[probe.interval]",
		"[report]\ntoken = ${Q}\nendpoint = ${Q} # \n[probe]\ninterval=${Q}\r\nca_file = '${Q}'",
		"x = '''${A}''''' # ${\n\"${y}\" = \"\"\"\\\"\"\"\"\"\"",
		"report.token = 't'\n[cluster]\nengine = 'etcd'\nmember = 'a'\nendpoints = ['http://9f3c-variable@h', ${A}]\nuser = ${A}\npassword_file = '9f3c-literal-9f3c'",
		"report.token = 't'\n[cluster]\nengine = 'address'\naddress = '10.0.0.1'\nttl = 4",
		"report.token = 't'\nreport.promise = 600\n[probe]\ninterval = 60\n[cluster]\nengine = 'alive'\nmember = 'a'",
		"report = {token = 't', promise = 59}\nprobe.interval = ${Q}\n[cluster]\nengine = 'etcd'\nmember = 'a'\ngroup = 'g/\u00e9'\nendpoints = []\nttl = 5.0\nca_file = '/dev/null'",
		"\xef\xbb\xbfreport.token = 1e999\r\nreport.tokne = 07:32:00",
	} {
		f.Add(seed)
	}
	set := func(name string) (string, bool) {
		if name == "Q" {
			return `"9f3c-variable\u002d9f3c"`, true
		}
		return content, true
	}
	f.Fuzz(func(t *testing.T, text string) {
		// A file name beside the sample, so that no relative path leads out.
		got, err := parse("testdata/config.cfg", []byte(text), set)
		said := strings.Join(got.Warnings, "\n")
		if err != nil {
			said += "\n" + err.Error()
			all, ok := errors.AsType[Complaints](err)
			if !ok || len(all) == 0 {
				t.Fatalf("got error %v of type %T, want complaints", err, err)
			}
			if strings.Count(err.Error(), "\n") != len(all)-1 {
				t.Errorf("got %q, want one line for each of %d complaints", err, len(all))
			}
		} else if !inRange(got) {
			t.Errorf("got %+v without a complaint, want every setting in range", got)
		}
		for _, part := range []string{"9f3c-variable", "-9f3c"} {
			// Keys and paths are said; only what stands for a value is secret.
			if strings.Contains(said, part) && !strings.Contains(text, part) {
				t.Errorf("got %q in %q, want no variable's content", part, said)
			}
		}
		if token := got.Token.Reveal(); len(token) > 7 && strings.Contains(said, token) {
			t.Errorf("got the token %q in %q, want it nowhere", token, said)
		}
	})
}

// inRange reports whether c is what the comments on its fields say.
func inRange(c Config) bool {
	return c.Level >= logrus.ErrorLevel && c.Level <= logrus.DebugLevel &&
		endpointProblem(c.Endpoint) == "" && !strings.HasSuffix(c.Endpoint, "/") &&
		tokenProblem(c.Token.Reveal()) == "" &&
		c.Interval >= time.Second && c.Interval <= time.Hour && c.Interval%time.Second == 0 &&
		c.Promise >= c.Interval && c.Promise <= time.Hour && c.Promise%time.Second == 0 &&
		c.Workers >= 0 && c.Workers <= 100_000 && clusterInRange(c.Cluster)
}

func clusterInRange(c Cluster) bool {
	switch c.Engine {
	case NoEngine:
		return c.Equal(Cluster{Engine: NoEngine})
	case Address:
		return isName(c.Member) && c.Addr.IsValid()
	case Etcd:
		return isName(c.Member) && isName(c.Group) && len(c.Endpoints) > 0 && c.TTL >= 5*time.Second && c.TTL <= time.Minute &&
			(c.User == "") == (c.Password == Secret{})
	}
	return c.Engine == Alive && isName(c.Member)
}
