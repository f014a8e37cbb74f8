package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"reflect"
	"strconv"
	"strings"
	"testing"
)

// jsonTypes are the structs that are printed as JSON, by their names.
type jsonTypes map[string]*ast.StructType

// parseJSONTypes returns the structs of files.
func parseJSONTypes(t *testing.T, files ...string) jsonTypes {
	t.Helper()
	types := make(jsonTypes)
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok {
				if s, ok := spec.Type.(*ast.StructType); ok {
					types[spec.Name.Name] = s
				}
			}
			return true
		})
	}
	return types
}

// manualOfJSON returns the section of the manual page on the names of the JSON.
func manualOfJSON(t *testing.T) string {
	types := parseJSONTypes(t, "../../internal/status/status.go", "../../internal/status/cluster.go", "probe.go")
	var b strings.Builder
	b.WriteString(".SH JSON\n" + roff(`The names are stable: new ones may come, none changes or goes within a major version.
Times are RFC 3339, durations numbers of seconds; what is absent is unknown, none, or 0.
No value has a password, or the value of a query.`) + "\n")
	b.WriteString(".SS " + roff("The state: status -o json, and /replicas.json of [server] inet") + "\n")
	types.write(&b, "Snapshot", "", make(map[string]bool))
	b.WriteString(".SS " + roff("A URL: probe -o json, an object for each") + "\n")
	types.write(&b, "probed", "", map[string]bool{"Attempt": true})
	return b.String()
}

// write writes the members of a struct, and those of the structs in it that are not
// in shown, each under the path to it.
func (types jsonTypes) write(b *strings.Builder, name, path string, shown map[string]bool) {
	type member struct{ of, path string }
	var inner []member
	b.WriteString(".PD 0\n")
	for _, field := range types[name].Fields.List {
		tag, _ := strconv.Unquote(field.Tag.Value)
		as, _, _ := strings.Cut(reflect.StructTag(tag).Get("json"), ",")
		kind, of, list := types.kind(field.Type)
		if comment := strings.TrimSpace(field.Comment.Text()); comment != "" {
			kind += ": " + comment
		}
		fmt.Fprintf(b, ".TP 24\n\\fB%s\\fR\n%s\n", roff(as), roff(kind))
		if of != "" && !shown[of] {
			shown[of] = true
			inner = append(inner, member{of, path + as + list})
		}
	}
	b.WriteString(".PD\n")
	for _, m := range inner {
		fmt.Fprintf(b, ".PP\nIn \\fB%s\\fR:\n", roff(m.path))
		types.write(b, m.of, m.path+".", shown)
	}
}

// kind returns what a member is in words, and the struct that it is made of, if any,
// with brackets if it is a list of it.
func (types jsonTypes) kind(e ast.Expr) (word, of, list string) {
	switch e := e.(type) {
	case *ast.StarExpr:
		return types.kind(e.X)
	case *ast.ArrayType:
		word, of, _ := types.kind(e.Elt)
		return "list of " + word + "s", of, "[]"
	case *ast.SelectorExpr:
		if e.Sel.Name == "Time" {
			return "time", "", ""
		}
		return types.kind(e.Sel)
	case *ast.Ident:
		switch {
		case types[e.Name] != nil:
			return "object", e.Name, ""
		case e.Name == "float64", e.Name == "int", e.Name == "uint64":
			return "number", "", ""
		case e.Name == "bool":
			return "true or false", "", ""
		}
	}
	return "text", "", ""
}
