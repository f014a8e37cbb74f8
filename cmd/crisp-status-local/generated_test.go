package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// generateVariable, when it is set, has the test write what it would compare.
const generateVariable = "GENERATE"

// manualPage is the page whose sections on the commands and on JSON are generated.
const manualPage = "../../debian/crisp-status-local.8"

// Lines of the manual page around what is generated.
const (
	generatedFrom = ".\\\" From here on it is written by \"make generate\".\n"
	generatedTo   = ".\\\" Up to here.\n"
)

// TestGenerated: the manual page and the completions are those of the commands.
func TestGenerated(t *testing.T) {
	root := rootCommand(system{stdout: new(bytes.Buffer), stderr: new(bytes.Buffer)})
	page, err := os.ReadFile(manualPage)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(page), generatedFrom)
	_, after, ended := strings.Cut(rest, generatedTo)
	if !found || !ended {
		t.Fatalf("%s has no place for what is generated, want it between %q and %q", manualPage, generatedFrom, generatedTo)
	}
	files := map[string]string{manualPage: before + generatedFrom + manualOf(root) + manualOfJSON(t) + generatedTo + after}
	for shell, file := range map[string]string{"bash": "crisp-status-local", "zsh": "_crisp-status-local", "fish": "crisp-status-local.fish"} {
		var script bytes.Buffer
		if err := completion(root, shell, &script); err != nil {
			t.Fatal(err)
		}
		files["../../debian/completions/"+file] = script.String()
	}
	for file, want := range files {
		if os.Getenv(generateVariable) != "" {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != want {
			t.Errorf("%s is not that of the commands (%v), want what \"make generate\" writes", file, err)
		}
	}
}

// manualOf returns the section of the manual page on the commands, in the language
// of man(7).
func manualOf(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString(".SH COMMANDS\n")
	for _, cmd := range commandsOf(root) {
		fmt.Fprintf(&b, ".SS %s\n", roff(strings.TrimPrefix(cmd.Use, "crisp-status-local ")))
		text := cmd.Long
		if text == "" {
			text = cmd.Short + "."
		}
		for i, paragraph := range strings.Split(text, "\n\n") {
			if i > 0 {
				b.WriteString(".PP\n")
			}
			writeParagraph(&b, paragraph)
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) { b.WriteString(optionOf(f)) })
		if cmd.Example != "" {
			b.WriteString(".PP\n.EX\n" + roff(cmd.Example) + "\n.EE\n")
		}
	}
	return b.String()
}

// writeParagraph writes text, as it is where it is indented.
func writeParagraph(b *strings.Builder, text string) {
	if strings.HasPrefix(text, "  ") {
		b.WriteString(".EX\n" + roff(text) + "\n.EE\n")
		return
	}
	b.WriteString(roff(text) + "\n")
}

// optionOf returns the paragraph about a flag.
func optionOf(f *pflag.Flag) string {
	if f.Name == "help" {
		return ""
	}
	value, usage := pflag.UnquoteUsage(f)
	names := "\\fB\\-\\-" + roff(f.Name) + "\\fR"
	if f.Shorthand != "" {
		names = "\\fB\\-" + f.Shorthand + "\\fR, " + names
	}
	if f.Value.Type() != "bool" {
		names += " \\fI" + roff(value) + "\\fR"
		if f.DefValue != "" {
			usage += " (" + f.DefValue + " by default)"
		}
	}
	return ".TP\n" + names + "\n" + roff(strings.ReplaceAll(usage, "\n", " ")) + "\n"
}

// roff returns text with nothing in it that man(7) would take for its own.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "✘", "cross").Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, "'") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// completed returns what the program completes the words to.
func completed(t *testing.T, words ...string) string {
	t.Helper()
	stdout, _, status := started(t.Context(), t, append([]string{"__complete"}, words...)...)
	if status != 0 {
		t.Errorf("%q: exit status %d, want 0", words, status)
	}
	return stdout
}

func TestCompletion(t *testing.T) {
	for _, tt := range []struct{ words, want string }{
		{"", "status\tShow"},
		{"", "probe\t"},
		{"--conf", "--configured\t"},
		{"--v", "--version\t"},
		{"probe --d", "--delay-dead\t"},
		{"probe --output ", "json"},
		{"status --", "--ignored\t"},
		{"completion ", "fish"},
		{"help o", "once\t"},
	} {
		if got := completed(t, strings.Split(tt.words, " ")...); !strings.Contains(got, tt.want) {
			t.Errorf("%q: got\n%swant %q among it", tt.words, got, tt.want)
		}
	}
}

// TestBashCompletes runs the script in a bash whose library of completions is
// played by a function.
func TestBashCompletes(t *testing.T) {
	if _, err := exec.LookPath("bash"); err != nil || binary == "" {
		t.Skip("there is no bash, or no Go toolchain to build the daemon with")
	}
	cmd := exec.Command("bash", "-c", `_init_completion() { words=("${COMP_WORDS[@]}") cword=$COMP_CWORD cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]}; }
. "$0" && COMP_WORDS=(crisp-status-local --v) COMP_CWORD=1 COMP_TYPE=9 && $(complete -p crisp-status-local | sed 's/.*-F \([^ ]*\).*/\1/') && echo "${COMPREPLY[@]}"`,
		"../../debian/completions/crisp-status-local")
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), "--version") {
		t.Errorf("got %q, %v, want --version", out, err)
	}
}

// missing skips the test for want of a tool, or fails it where all tools are to be
// there.
func missing(t *testing.T, tool string) {
	t.Helper()
	if os.Getenv("CRISP_REQUIRE_TOOLS") != "" {
		t.Fatalf("%s is not installed", tool)
	}
	t.Skipf("%s is not installed", tool)
}

func TestFishCompletes(t *testing.T) {
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	if _, err := exec.LookPath("fish"); err != nil {
		missing(t, "fish")
	}
	for line, want := range map[string]string{
		"crisp-status-local pro":                 "probe\tProbe a URL from here",
		"crisp-status-local status --ign":        "--ignored\tshow the entries",
		"crisp-status-local probe --outp":        "--output\tthe FORM of the output",
		"crisp-status-local probe --output js":   "json",
		"crisp-status-local -c ../../config.cf":  "../../config.cfg",
		"crisp-status-local completion f":        "fish",
		"crisp-status-local status no-such-word": "",
	} {
		cmd := exec.Command("fish", "--no-config", "-c", "source ../../debian/completions/crisp-status-local.fish; complete -C $argv[1]", line)
		cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
		if out, err := cmd.Output(); err != nil || !strings.HasPrefix(string(out), want) || want == "" && len(out) > 0 {
			t.Errorf("%q: got %q, %v, want %q", line, out, err, want)
		}
	}
}

// TestZshCompletes types into a zsh on a terminal, since it completes nowhere else.
func TestZshCompletes(t *testing.T) {
	if binary == "" {
		t.Skip("there is no Go toolchain to build the daemon with")
	}
	if _, err := exec.LookPath("zsh"); err != nil {
		missing(t, "zsh")
	}
	completions, err := filepath.Abs("../../debian/completions")
	if err != nil {
		t.Fatal(err)
	}
	term := newTerminal(t, 200)
	shell := term.program
	cmd := exec.Command("zsh", "-f", "-i")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = shell, shell, shell
	cmd.Env = append(os.Environ(), "TERM=dumb", "PS1=> ", "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "HOME="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		cmd.Process.Kill()
		cmd.Wait()
	}()
	term.types(t, "unsetopt beep promptsp; fpath=("+completions+" $fpath); autoload -U compinit && compinit -u -D && echo re''ady\n", "ready")
	for line, want := range map[string]string{
		"pro":               "crisp-status-local probe ",
		"status --ign":      "crisp-status-local status --ignored ",
		"probe --output js": "crisp-status-local probe --output json ",
		"completion f":      "crisp-status-local completion fish ",
	} {
		term.types(t, "\x15crisp-status-local "+line+"\t", want) // Ctrl-U empties the line
	}
}
