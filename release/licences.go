package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// module is a module that is linked into a program, with its licences.
type module struct {
	path, version string
	licences      []string          // SPDX identifiers
	texts         map[string][]byte // licence files, by their path in the module
}

// listedPackage is a package in the output of go list.
type listedPackage struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
		Replace            *struct{ Path string }
	}
}

// linkedModules returns the modules that are linked on any architecture, and Go's own
// library. It fails when a licence is unknown or not permitted.
func (r *release) linkedModules(ctx context.Context) ([]module, error) {
	found := map[string]*module{}
	for _, arch := range r.arches {
		out, err := r.runGo(ctx, arch, "list", "-deps", "-json=Dir,Standard,Module", "./cmd/...")
		if err != nil {
			return nil, err
		}
		if err := collectModules(found, out); err != nil {
			return nil, err
		}
	}
	std, err := r.standardLibrary(ctx)
	if err != nil {
		return nil, err
	}
	found[std.path] = std
	var all []module
	for _, path := range slices.Sorted(maps.Keys(found)) {
		m := found[path]
		if err := m.classify(); err != nil {
			return nil, err
		}
		all = append(all, *m)
	}
	return all, nil
}

// collectModules adds the modules in the output of go list to found.
func collectModules(found map[string]*module, list []byte) error {
	for d := json.NewDecoder(bytes.NewReader(list)); ; {
		var p listedPackage
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		if p.Standard || p.Module == nil || p.Module.Main {
			continue
		}
		if p.Module.Replace != nil {
			return fmt.Errorf("%s is replaced by %s: a release is built from published modules only", p.Module.Path, p.Module.Replace.Path)
		}
		m := found[p.Module.Path]
		if m == nil {
			m = &module{path: p.Module.Path, version: p.Module.Version, texts: map[string][]byte{}}
			found[m.path] = m
		}
		if err := m.readTexts(p.Module.Dir, p.Dir); err != nil {
			return err
		}
	}
}

// standardLibrary returns Go's own library and runtime as a module.
func (r *release) standardLibrary(ctx context.Context) (*module, error) {
	out, err := r.runGo(ctx, r.arches[0], "env", "GOROOT", "GOVERSION")
	if err != nil {
		return nil, err
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(out)), "\n")
	m := &module{path: "std", version: strings.TrimPrefix(version, "go"), texts: map[string][]byte{}}
	return m, m.readTexts(root, root)
}

// licenceFile matches the names of files with licences.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|copyright|notice|patents|unlicense)([._-].*)?$`)

// readTexts reads the licence files of a package: in its directory and those above it,
// up to the module's.
func (m *module) readTexts(root, dir string) error {
	for ; ; dir = filepath.Dir(dir) {
		entries, err := os.ReadDir(dir)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			path := filepath.Join(dir, e.Name())
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return err
			}
			if m.texts[rel], err = os.ReadFile(path); err != nil {
				return err
			}
		}
		if dir == root || len(dir) <= len(root) {
			return nil
		}
	}
}

// permittedLicences are the licences under which a linked module may be.
var permittedLicences = []string{"Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MPL-2.0"}

// ignoredTexts are no licences of code: grants of patents, and licences of documents.
var ignoredTexts = []string{"GooglePatentClause", "GooglePatentsFile", "CC-BY-SA-4.0", "CC-BY-4.0"}

// classify sets the module's licences from its texts. It fails for a module without a
// known licence, and for a licence that asks for more than attribution.
func (m *module) classify() error {
	found := map[string]bool{}
	for _, text := range m.texts {
		for _, match := range licensecheck.Scan(text).Match {
			if !match.IsURL && !slices.Contains(ignoredTexts, match.ID) {
				found[match.ID] = true
			}
		}
	}
	m.licences = slices.Sorted(maps.Keys(found))
	if len(m.licences) == 0 {
		return fmt.Errorf("%s %s: no known licence in %q; look for its licence, and extend release/licences.go", m.path, m.version, slices.Sorted(maps.Keys(m.texts)))
	}
	for _, licence := range m.licences {
		if !slices.Contains(permittedLicences, licence) {
			return fmt.Errorf("%s %s is under %s, which is not permitted; if it may be linked, add it to release/licences.go", m.path, m.version, licence)
		}
	}
	return nil
}

// formatLicences returns the text that accompanies the programs: their modules, and
// the licences of each.
func formatLicences(modules []module) []byte {
	var out bytes.Buffer
	fmt.Fprintln(&out, "The programs of overlayzfs contain the modules below; their licences follow.")
	fmt.Fprintln(&out)
	for _, m := range modules {
		fmt.Fprintf(&out, "%s %s: %s\n", m.path, m.version, strings.Join(m.licences, ", "))
	}
	for _, m := range modules {
		for _, name := range slices.Sorted(maps.Keys(m.texts)) {
			fmt.Fprintf(&out, "\n%s\n%s %s, %s\n\n%s\n", strings.Repeat("=", 78), m.path, m.version, name, bytes.TrimSpace(m.texts[name]))
		}
	}
	return out.Bytes()
}
