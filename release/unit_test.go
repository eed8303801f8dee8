package main

import (
	"archive/tar"
	"bytes"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestDebVersions(t *testing.T) {
	// In the order in which dpkg is to sort them.
	versions := []struct{ version, want string }{
		{"4086cb5-dirty", "0~4086cb5.dirty"},
		{"v0.9.0", "0.9.0"},
		{"v1.0.0-rc.1", "1.0.0~rc.1"},
		{"1.0.0", "1.0.0"},
		{"v1.0.0-12-gabcdef0", "1.0.0+12.gabcdef0"},
		{"v1.0.0-12-gabcdef0-dirty", "1.0.0+12.gabcdef0.dirty"},
		{"v1.0.1-beta-2", "1.0.1~beta.2"},
	}
	dpkg, missing := exec.LookPath("dpkg")
	for i, v := range versions {
		if got := debVersion(v.version); got != v.want {
			t.Errorf("%s: %q, want %q", v.version, got, v.want)
		}
		if i == 0 || missing != nil {
			continue
		}
		if err := exec.Command(dpkg, "--compare-versions", versions[i-1].want, "lt", v.want).Run(); err != nil {
			t.Errorf("%s is not before %s: %v", versions[i-1].want, v.want, err)
		}
	}
}

// TestTreeIsReproducible writes a tree that was filled in different orders.
func TestTreeIsReproducible(t *testing.T) {
	when := time.Unix(1700000000, 0)
	names := []string{"b/c", "a", "b/a/x"}
	var want []byte
	for range 10 {
		tr := newTree()
		for _, name := range names {
			tr.add(name, 0o644, []byte(name))
		}
		tr.addSymlink("b/link", "/a")
		var out bytes.Buffer
		if err := tr.writeTar(&out, "top/", when); err != nil {
			t.Fatal(err)
		}
		if want != nil && !bytes.Equal(want, out.Bytes()) {
			t.Error("not the same")
		}
		want = out.Bytes()
		slices.Reverse(names)
	}
	var got []string
	for r := tar.NewReader(bytes.NewReader(want)); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !h.ModTime.Equal(when) || h.Uid != 0 || h.Uname != "" {
			t.Errorf("%+v", h)
		}
		got = append(got, h.Name)
	}
	if want := []string{"top/b/", "top/b/a/", "top/a", "top/b/a/x", "top/b/c", "top/b/link"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

const mit = `Permission is hereby granted, free of charge, to any person obtaining a copy of this software and associated documentation files (the "Software"), to deal in the Software without restriction, including without limitation the rights to use, copy, modify, merge, publish, distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the Software is furnished to do so, subject to the following conditions:

The above copyright notice and this permission notice shall be included in all copies or substantial portions of the Software.

THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM, DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM, OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
`

// TestLicencesOfAPackage reads the licences beside a package and above it, and no others.
func TestLicencesOfAPackage(t *testing.T) {
	root := t.TempDir()
	for name, text := range map[string]string{
		"LICENSE": mit, "a/COPYING.md": mit, "a/b/licence.go": "package b", "c/LICENSE": mit, "a/b/NOTICE": "thanks",
	} {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	m := module{path: "m", version: "v1", texts: map[string][]byte{}}
	if err := m.readTexts(root, filepath.Join(root, "a/b")); err != nil {
		t.Fatal(err)
	}
	if err := m.classify(); err != nil || !slices.Equal(m.licences, []string{"MIT"}) {
		t.Errorf("%q, %v", m.licences, err)
	}
	text := string(formatLicences([]module{m}))
	for name, want := range map[string]bool{"m v1, LICENSE": true, "m v1, a/COPYING.md": true, "m v1, a/b/NOTICE": true, "licence.go": false, "c/LICENSE": false} {
		if strings.Contains(text, name) != want {
			t.Errorf("the text has %q: %v\n%s", name, !want, text)
		}
	}
}

func TestUnpermittedLicences(t *testing.T) {
	gpl := "This program is free software: you can redistribute it and/or modify it under the terms of the GNU General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version."
	for text, want := range map[string]string{"no words": "no known licence", gpl: "GPL"} {
		m := module{path: "m", version: "v1", texts: map[string][]byte{"LICENSE": []byte(text)}}
		if err := m.classify(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.20s: %v", text, err)
		}
	}
}

func TestArguments(t *testing.T) {
	for _, args := range [][]string{{}, {"--version", "v1"}, {"--version", "v 1", "--commit", "c"}, {"--version", "v1", "--commit", "c", "x"}, {"--version", "../x", "--commit", "c"}} {
		if _, err := parseFlags(args); err == nil {
			t.Errorf("parseFlags accepts %q", args)
		}
	}
	r, err := parseFlags([]string{"--version", "v1", "--commit", "c", "--time", "5"})
	if err != nil || r.time.Unix() != 5 || !filepath.IsAbs(r.out) || len(r.arches) != 2 {
		t.Errorf("%+v, %v", r, err)
	}
}

// TestReplaceOnce checks that a text that is missing, or there twice, is an error.
func TestReplaceOnce(t *testing.T) {
	if got, err := replaceOnce([]byte("a b"), "b", "c"); err != nil || string(got) != "a c" {
		t.Errorf("%q, %v", got, err)
	}
	for _, text := range []string{"a", "b b"} {
		if _, err := replaceOnce([]byte(text), "b", "c"); err == nil {
			t.Errorf("replaceOnce accepts %q", text)
		}
	}
}
