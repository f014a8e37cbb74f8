// Sbom prints what a daemon was built from, read from the binary itself, as a
// bill of materials in the JSON of CycloneDX 1.6:
//
//	sbom VERSION BINARY
//
// It runs in the folder of the source, where go.sum and vendor/ say the rest. The
// same binary gives the same bytes: their date is SOURCE_DATE_EPOCH.
package main

import (
	"bytes"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.LookupEnv, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "debian/release/sbom:", err)
		os.Exit(1)
	}
}

// The parts of a bill, as CycloneDX names them.
type (
	bill struct {
		Format       string       `json:"bomFormat"`
		Spec         string       `json:"specVersion"`
		Serial       string       `json:"serialNumber"`
		Version      int          `json:"version"`
		Metadata     metadata     `json:"metadata"`
		Components   []component  `json:"components"`
		Dependencies []dependency `json:"dependencies"`
	}
	metadata struct {
		Timestamp string    `json:"timestamp"`
		Component component `json:"component"`
		Supplier  supplier  `json:"supplier"`
	}
	supplier struct {
		Name string `json:"name"`
	}
	component struct {
		Type     string          `json:"type"`
		Ref      string          `json:"bom-ref"`
		Name     string          `json:"name"`
		Version  string          `json:"version"`
		Hashes   []hash          `json:"hashes,omitempty"`
		Licenses []licenseChoice `json:"licenses"`
		URL      string          `json:"purl"`
	}
	hash struct {
		Algorithm string `json:"alg"`
		Content   string `json:"content"`
	}
	licenseChoice struct {
		License license `json:"license"`
	}
	license struct {
		ID string `json:"id"` // of SPDX
	}
	dependency struct {
		Ref       string   `json:"ref"`
		DependsOn []string `json:"dependsOn"`
	}
)

func run(args []string, lookupEnv func(string) (string, bool), out io.Writer) error {
	if len(args) != 2 {
		return errors.New("usage: sbom VERSION BINARY")
	}
	version, path := args[0], args[1]
	epoch, _ := lookupEnv("SOURCE_DATE_EPOCH")
	seconds, err := strconv.ParseInt(epoch, 10, 64)
	if err != nil {
		return fmt.Errorf("SOURCE_DATE_EPOCH: %q, want the seconds since 1970 that the release is dated by", epoch)
	}
	binary, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	built, err := buildinfo.Read(bytes.NewReader(binary))
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	b, err := newBill(version, binary, built)
	if err != nil {
		return err
	}
	b.Metadata.Timestamp = time.Unix(seconds, 0).UTC().Format(time.RFC3339)
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(b)
}

// newBill lists the daemon, the standard library and every module in binary.
func newBill(version string, binary []byte, built *buildinfo.BuildInfo) (bill, error) {
	sum := sha256.Sum256(binary)
	daemon := component{
		Type:     "application",
		Name:     "crisp-status-local",
		Version:  version,
		Hashes:   []hash{{"SHA-256", hex.EncodeToString(sum[:])}},
		Licenses: []licenseChoice{{license{"MPL-2.0"}}},
		URL:      "pkg:golang/" + built.Main.Path + "@v" + version,
	}
	daemon.Ref = daemon.URL

	goVersion := strings.TrimPrefix(built.GoVersion, "go")
	library := component{
		Type:     "library",
		Name:     "stdlib",
		Version:  goVersion,
		Licenses: []licenseChoice{{license{"BSD-3-Clause"}}},
		URL:      "pkg:golang/stdlib@" + goVersion, // as databases of vulnerabilities name it
	}
	library.Ref = library.URL

	b := bill{
		Format:       "CycloneDX",
		Spec:         "1.6",
		Serial:       fmt.Sprintf("urn:uuid:%x-%x-%x-%x-%x", sum[:4], sum[4:6], sum[6:8], sum[8:10], sum[10:16]),
		Version:      1,
		Metadata:     metadata{Component: daemon, Supplier: supplier{"Crisp IM SARL"}},
		Components:   []component{library},
		Dependencies: []dependency{{Ref: daemon.Ref}},
	}
	sums, err := os.ReadFile("go.sum")
	if err != nil {
		return bill{}, err
	}
	for _, module := range built.Deps {
		c, err := newComponent(module, string(sums))
		if err != nil {
			return bill{}, err
		}
		b.Components = append(b.Components, c)
	}
	for _, c := range b.Components {
		// What they depend on themselves is not said: the binary does not know.
		b.Dependencies[0].DependsOn = append(b.Dependencies[0].DependsOn, c.Ref)
	}
	return b, nil
}

// newComponent describes a module by its sum in sums, the text of a go.sum, and
// the license in vendor/.
func newComponent(module *debug.Module, sums string) (component, error) {
	if module.Replace != nil {
		return component{}, fmt.Errorf("%s is replaced by %s, want a release of published modules alone", module.Path, module.Replace.Path)
	}
	_, sum, _ := strings.Cut(sums, module.Path+" "+module.Version+" h1:")
	sum, _, _ = strings.Cut(sum, "\n")
	tree, err := base64.StdEncoding.DecodeString(sum)
	if err != nil || len(tree) != sha256.Size {
		return component{}, fmt.Errorf("go.sum: no sum of %s %s, want one", module.Path, module.Version)
	}
	id, err := licenseOf(filepath.Join("vendor", filepath.FromSlash(module.Path)))
	if err != nil {
		return component{}, err
	}
	url := "pkg:golang/" + module.Path + "@" + module.Version
	return component{
		Type:     "library",
		Ref:      url,
		Name:     module.Path,
		Version:  module.Version,
		Hashes:   []hash{{"SHA-256", hex.EncodeToString(tree)}},
		Licenses: []licenseChoice{{license{id}}},
		URL:      url,
	}, nil
}

// licenses are those that the daemon may be built from, by words that no other has.
var licenses = []struct{ words, id string }{
	{"Mozilla Public License, version 2.0", "MPL-2.0"},
	{"Apache License Version 2.0", "Apache-2.0"},
	{"Permission is hereby granted, free of charge", "MIT"},
	{"Neither the name of", "BSD-3-Clause"},
}

// licenseOf returns the SPDX name of the license of the module in a folder.
func licenseOf(folder string) (string, error) {
	text, err := os.ReadFile(filepath.Join(folder, "LICENSE"))
	for _, other := range []string{"LICENSE.txt", "COPYING"} {
		if errors.Is(err, fs.ErrNotExist) {
			text, err = os.ReadFile(filepath.Join(folder, other))
		}
	}
	if err != nil {
		return "", err
	}
	plain := strings.ToLower(strings.Join(strings.Fields(string(text)), " "))
	for _, l := range licenses {
		if strings.Contains(plain, strings.ToLower(l.words)) {
			return l.id, nil
		}
	}
	return "", fmt.Errorf("%s: license not known, want MPL-2.0, Apache-2.0, MIT or BSD-3-Clause", folder)
}
