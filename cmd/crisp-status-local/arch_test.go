package main_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/crisp-im/crisp-status-local/v2"

// architecture says what a package may import besides the standard library, and
// why no more.
var architecture = map[string]struct {
	ours   []string // folders
	theirs []string
	why    string
}{
	"cmd/crisp-status-local": {
		ours:   []string{"internal/config", "internal/duty", "internal/endpoint", "internal/logging", "internal/pace", "internal/probe", "internal/redact", "internal/report", "internal/scheduler", "internal/service", "internal/status", "internal/statusapi"},
		theirs: []string{"github.com/jedib0t/go-pretty/v6/progress", "github.com/jedib0t/go-pretty/v6/table", "github.com/jedib0t/go-pretty/v6/text", "github.com/sirupsen/logrus", "github.com/spf13/cobra", "github.com/spf13/pflag", "golang.org/x/crypto/x509roots/fallback/bundle", "golang.org/x/term"},
		why:    "main wires everything, but the sandbox is for its tests alone; the command line is read as the original reads it, and what is shown to people is a matter of the commands alone; a program alone may say which roots stand in for a missing bundle",
	},
	"cmd/crisp-status-local/cluster": {
		ours: []string{"cmd/crisp-status-local/namespaces", "internal/sandbox"},
		why:  "it breaks what is around the binaries of several daemons, so it knows nothing of what is inside, and asks etcd by itself who is on duty",
	},
	"cmd/crisp-status-local/faults": {
		ours:   []string{"cmd/crisp-status-local/namespaces", "internal/sandbox"},
		theirs: []string{"golang.org/x/net/dns/dnsmessage", "golang.org/x/sys/unix"},
		why:    "it breaks what is around the daemon's binary, so it knows nothing of what is inside; it speaks DNS as a resolver, and asks the system for namespaces and devices",
	},
	"cmd/crisp-status-local/namespaces": {
		theirs: []string{"golang.org/x/sys/unix"},
		why:    "it knows the path of the daemon and nothing of what the tests do with it; it asks the system for namespaces",
	},
	"cmd/crisp-status-sandbox": {
		ours:   []string{"internal/sandbox", "internal/sandbox/judge"},
		theirs: []string{"golang.org/x/sys/unix"},
		why:    "the sandbox judges the daemon, so it shares nothing with it; of the system it takes the clock of a process",
	},
	"internal/config": {
		ours:   []string{"internal/policy"},
		theirs: []string{"github.com/BurntSushi/toml", "github.com/sirupsen/logrus"},
		why:    "a configuration is a value; of logrus it takes the level, of a policy its entries",
	},
	"internal/scheduler": {
		ours:   []string{"internal/logging", "internal/pace", "internal/probe", "internal/status", "internal/statusapi"},
		theirs: []string{"github.com/sirupsen/logrus", "golang.org/x/sys/unix"},
		why:    "the scheduler knows the map's type and the verdicts, and nothing of the wire or the outbox; of the log it takes the shape of a reason, to sum up those that are the same; of the system it takes the clock that goes on while the host is suspended",
	},
	"internal/duty": {
		theirs: []string{"github.com/sirupsen/logrus", "golang.org/x/sys/unix"},
		why:    "who is on duty has nothing to do with replicas; of the system it takes the clock that goes on while the host is suspended, word of addresses that come and go, and packet sockets to ask who else has one",
	},
	"internal/endpoint": {
		ours: []string{"internal/probe", "internal/status"},
		theirs: []string{
			"github.com/prometheus/client_golang/prometheus", "github.com/prometheus/client_golang/prometheus/collectors",
			"github.com/prometheus/client_golang/prometheus/testutil", "github.com/prometheus/client_golang/prometheus/testutil/promlint",
			"github.com/prometheus/common/expfmt",
		},
		why: "the endpoint shows a state that main hands it, and knows none of the parts that it comes from; testutil is for its tests",
	},
	"internal/logging": {
		theirs: []string{"github.com/sirupsen/logrus"},
		why:    "lines are lines, whoever writes them; of logrus it takes the hook, which knows an entry's level",
	},
	"internal/pace": {
		why: "every duration that follows from the interval, so that all parts keep the same promise",
	},
	"internal/policy": {
		theirs: []string{"golang.org/x/net/idna"},
		why:    "it is a leaf: what may be reached depends on names and addresses alone; host names are compared as they are looked up",
	},
	"internal/probe": {
		ours:   []string{"internal/policy", "internal/redact"},
		theirs: []string{"github.com/nlnwa/whatwg-url/url", "golang.org/x/net/dns/dnsmessage", "golang.org/x/net/idna", "golang.org/x/sys/unix"},
		why:    "a probe knows nothing of who asks for it, returns its reason instead of logging it, and never retries by retryablehttp: there a retry has another meaning",
	},
	"internal/redact": {
		why: "it is a leaf: whoever quotes words from outside hands it the secrets, and it knows neither configuration nor targets",
	},
	"internal/report": {
		ours:   []string{"internal/duty", "internal/pace", "internal/probe", "internal/status", "internal/statusapi"},
		theirs: []string{"github.com/sirupsen/logrus"},
		why:    "the outbox knows the errors of the API by their meaning, and nothing of its wire; of probes it knows the names of replicas",
	},
	"internal/sandbox": {
		ours:   []string{"internal/sandbox/judge", "internal/sandbox/target"},
		theirs: []string{"github.com/BurntSushi/toml"},
		why:    "with wire types of the daemon's, the tests would judge themselves",
	},
	"internal/sandbox/judge": {
		ours: []string{"internal/sandbox/target"},
		why:  "the judge measures reports and knows the targets, but no wire format and no socket",
	},
	"internal/sandbox/target": {
		why: "targets are servers on loopback, whoever probes and judges them",
	},
	"internal/status": {
		ours: []string{"internal/probe"},
		why:  "the state that is shown is a value, so that the daemon and the commands that ask it share its form and nothing else; of probes it knows the results",
	},
	"internal/statusapi": {
		ours:   []string{"internal/pace", "internal/probe", "internal/redact"},
		theirs: []string{"github.com/hashicorp/go-retryablehttp", "github.com/nlnwa/whatwg-url/url", "golang.org/x/net/http/httpproxy"},
		why:    "the wire format is turned into checks here; a client returns its errors and does not log",
	},
	"internal/service": {
		theirs: []string{"github.com/coreos/go-systemd/v22/daemon", "golang.org/x/net/netutil"},
		why:    "whoever runs the daemon learns how it is, not what it does: whether it is alive comes from main as a function, and its state as a handler",
	},
}

// source is a parsed file of this module.
type source struct {
	path   string // from the top of the repository
	folder string
	test   bool
	file   *ast.File
	set    *token.FileSet
}

// at returns where a node is, for a message.
func (s source) at(n ast.Node) string {
	return s.path + ":" + strconv.Itoa(s.set.Position(n.Pos()).Line)
}

// sources returns every Go file of the repository.
func sources(t *testing.T) []source {
	t.Helper()
	const top = "../.."
	if _, err := os.Stat(filepath.Join(top, "go.mod")); err != nil {
		t.Skipf("the source is not beside the test binary: %v", err)
	}
	var found []source
	for _, tree := range []string{"cmd", "internal"} {
		err := filepath.WalkDir(filepath.Join(top, tree), func(path string, d fs.DirEntry, err error) error {
			switch {
			case err != nil:
				return err
			case d.IsDir() && d.Name() == "testdata":
				return fs.SkipDir
			case d.IsDir() || filepath.Ext(path) != ".go":
				return nil
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, path, nil, parser.ParseComments|parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			path, err = filepath.Rel(top, path)
			path = filepath.ToSlash(path)
			found = append(found, source{path, path[:strings.LastIndexByte(path, '/')], strings.HasSuffix(path, "_test.go"), file, set})
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if len(found) == 0 {
		t.Fatal("got no Go file, want those of this repository")
	}
	return found
}

func TestImports(t *testing.T) {
	library := make(map[string]bool)
	for _, rule := range architecture {
		for _, path := range rule.theirs {
			library[path] = true
		}
	}
	seen := make(map[string]bool)
	for _, s := range sources(t) {
		seen[s.folder] = true
		rule, ok := architecture[s.folder]
		if !ok {
			t.Errorf("%s: package %s has no row in the table of imports, want one that says why it is there", s.path, s.folder)
			continue
		}
		for _, spec := range s.file.Imports {
			path, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			ours, isOurs := strings.CutPrefix(path, module+"/")
			domain, _, _ := strings.Cut(path, "/")
			switch {
			case spec.Name != nil && spec.Name.Name == ".":
				t.Errorf("%s: got a dot import of %s, want names that say where they are from", s.at(spec), path)
			case isOurs && !s.test && !slices.Contains(rule.ours, ours):
				t.Errorf("%s: %s imports %s, want only %q: %s", s.at(spec), s.folder, ours, rule.ours, rule.why)
			case isOurs || !strings.Contains(domain, "."):
			case s.test && !library[path]:
				t.Errorf("%s: a test imports %s, want nothing that the program does not", s.at(spec), path)
			case !s.test && !slices.Contains(rule.theirs, path):
				t.Errorf("%s: %s imports %s, want only %q: %s", s.at(spec), s.folder, path, rule.theirs, rule.why)
			}
		}
	}
	for folder := range architecture {
		if !seen[folder] {
			t.Errorf("the table of imports has %s, want no row without a package", folder)
		}
	}
}

func TestPackageDocs(t *testing.T) {
	comments := make(map[string][]string)
	names := make(map[string]string)
	for _, s := range sources(t) {
		names[s.folder] = strings.TrimSuffix(s.file.Name.Name, "_test")
		if s.file.Doc == nil {
			continue
		}
		comments[s.folder] = append(comments[s.folder], s.path)
		want := "Package " + s.file.Name.Name + " "
		if s.file.Name.Name == "main" {
			want = ""
		}
		if text := s.file.Doc.Text(); !strings.HasPrefix(text, want) || s.test {
			t.Errorf("%s: got the package comment %.40q, want one that begins with %q, in no test file", s.path, text, want)
		}
	}
	for _, folder := range slices.Sorted(maps.Keys(names)) {
		if got := comments[folder]; len(got) != 1 {
			t.Errorf("package %s: got package comments in %q, want exactly one", folder, got)
		}
		if name := names[folder]; slices.Contains([]string{"util", "utils", "common", "helper", "helpers", "misc", "base"}, name) {
			t.Errorf("package %s: got a name that says nothing, want what it is for", folder)
		}
	}
}

// contracts are methods that the standard library documents: who writes more
// than it does repeats it.
var contracts = []string{"Error", "Unwrap", "String", "GoString", "Format", "MarshalText", "UnmarshalText", "MarshalJSON", "UnmarshalJSON"}

func TestExportedNamesAreDocumented(t *testing.T) {
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		for _, decl := range s.file.Decls {
			switch d := decl.(type) {
			case *ast.FuncDecl:
				receiver := receiverOf(d)
				if d.Name.IsExported() && ast.IsExported(receiver) && !(d.Recv != nil && slices.Contains(contracts, d.Name.Name)) {
					s.wantDoc(t, d, d.Name.Name, d.Doc)
				}
			case *ast.GenDecl:
				for _, spec := range d.Specs {
					switch spec := spec.(type) {
					case *ast.TypeSpec:
						if doc := spec.Doc; spec.Name.IsExported() {
							if doc == nil && !d.Lparen.IsValid() {
								doc = d.Doc
							}
							s.wantDoc(t, spec, spec.Name.Name, doc)
						}
					case *ast.ValueSpec:
						// A group that belongs together is documented as one.
						for _, name := range spec.Names {
							if name.IsExported() && spec.Doc == nil && spec.Comment == nil && d.Doc == nil {
								t.Errorf("%s: %s has no comment, want one", s.at(name), name.Name)
							}
						}
					}
				}
			}
		}
	}
}

// receiverOf returns the name of the type that d is a method of; of a function,
// its own.
func receiverOf(d *ast.FuncDecl) string {
	if d.Recv == nil {
		return d.Name.Name
	}
	e := d.Recv.List[0].Type
	if star, ok := e.(*ast.StarExpr); ok {
		e = star.X
	}
	if index, ok := e.(*ast.IndexExpr); ok {
		e = index.X
	}
	if name, ok := e.(*ast.Ident); ok {
		return name.Name
	}
	return ""
}

// wantDoc checks that doc is a sentence on name.
func (s source) wantDoc(t *testing.T, n ast.Node, name string, doc *ast.CommentGroup) {
	t.Helper()
	text := strings.TrimSpace(doc.Text())
	for _, article := range []string{"A ", "An ", "The "} {
		text = strings.TrimPrefix(text, article)
	}
	rest, ok := strings.CutPrefix(text, name)
	if !ok || rest != "" && !strings.ContainsRune(" ,'\n", rune(rest[0])) {
		t.Errorf("%s: %s has the comment %.40q, want a sentence that begins with its name", s.at(n), name, text)
	}
}

// packageLog are what logs by the package instead of the logger handed in.
var packageLog = []string{
	"Trace", "Debug", "Info", "Print", "Warn", "Warning", "Error", "Fatal", "Panic", "WithField", "WithFields", "WithError",
	"WithContext", "WithTime", "StandardLogger", "SetLevel", "SetOutput", "SetFormatter", "AddHook", "Exit",
}

func TestForbidden(t *testing.T) {
	for _, s := range sources(t) {
		for _, group := range s.file.Comments {
			for _, word := range []string{"TO" + "DO", "FIX" + "ME", "X" + "XX"} {
				if strings.Contains(group.Text(), word) {
					t.Errorf("%s: got a %s, want it done", s.at(group), word)
				}
			}
		}
		if s.test || s.folder == "cmd/crisp-status-local/namespaces" { // which is of tests alone
			continue
		}
		for _, decl := range s.file.Decls {
			d, isFunc := decl.(*ast.FuncDecl)
			if isFunc && d.Name.Name == "init" && d.Recv == nil {
				t.Errorf("%s: got an init function, want everything passed in", s.at(d))
			}
			isMain := isFunc && d.Name.Name == "main" && d.Recv == nil && s.file.Name.Name == "main"
			ast.Inspect(decl, func(n ast.Node) bool {
				if call, ok := n.(*ast.CallExpr); ok {
					s.wantAllowed(t, call, isMain)
				}
				return true
			})
		}
	}
}

// wantAllowed checks that call ends neither the program nor a goroutine, and
// logs only by a logger handed in.
func (s source) wantAllowed(t *testing.T, call *ast.CallExpr, inMain bool) {
	t.Helper()
	switch f := call.Fun.(type) {
	case *ast.Ident:
		if f.Name == "panic" && !isAbort(call.Args[0]) {
			t.Errorf("%s: got a panic, want an error", s.at(call))
		}
	case *ast.SelectorExpr:
		of, _ := f.X.(*ast.Ident)
		from, name := "", f.Sel.Name
		if of != nil {
			from = of.Name
		}
		plain := strings.TrimSuffix(strings.TrimSuffix(name, "f"), "ln")
		switch {
		case from == "os" && name == "Exit":
			if !inMain {
				t.Errorf("%s: got os.Exit outside main, want an error: it skips what is deferred", s.at(call))
			}
		case plain == "Fatal" || plain == "Panic":
			t.Errorf("%s: got %s.%s, want an error: it skips what is deferred", s.at(call), from, name)
		case from == "logrus" && slices.Contains(packageLog, plain), from == "log" && plain == "Print" && s.imports("log"):
			t.Errorf("%s: got %s.%s, want the logger that was handed in", s.at(call), from, name)
		}
	}
}

// isAbort reports whether e is http.ErrAbortHandler: a panic with it is how an
// HTTP handler leaves a request without an answer.
func isAbort(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	from, ok := s.X.(*ast.Ident)
	return ok && from.Name == "http" && s.Sel.Name == "ErrAbortHandler"
}

// imports reports whether the file imports path.
func (s source) imports(path string) bool {
	return slices.ContainsFunc(s.file.Imports, func(spec *ast.ImportSpec) bool { return spec.Path.Value == strconv.Quote(path) })
}
