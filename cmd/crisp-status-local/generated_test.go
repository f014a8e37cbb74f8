package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// generateVariable, when it is set, has the test write what it would compare.
const generateVariable = "GENERATE"

// manualPage is the page whose section on the commands is generated.
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
	files := map[string]string{manualPage: before + generatedFrom + manualOf(root) + generatedTo + after}
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
