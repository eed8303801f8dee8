package vm

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

func TestStartScript(t *testing.T) {
	job := Job{
		Command: []string{"/bin/echo", "it's", "$HOME", "two words", ""},
		Env:     map[string]string{"B": "it's", "A": "1"},
	}
	script := strings.Replace(job.startScript(), "cd "+JobDir, "cd /", 1)
	out, err := exec.Command("sh", "-c", script).Output()
	if err != nil || string(out) != "it's $HOME two words \n" {
		t.Errorf("sh printed %q, %v for\n%s", out, err, script)
	}
	if !strings.Contains(script, `export A='1'`+"\n"+`export B='it'\''s'`) {
		t.Errorf("no environment in\n%s", script)
	}
}

func TestJobTar(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "tree/sub/file"), "content")
	if err := os.Symlink("sub/file", filepath.Join(dir, "tree/link")); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "script"), "#!/bin/sh")
	job := Job{
		Files: []File{
			{Host: filepath.Join(dir, "tree"), Guest: "tree"},
			{Host: filepath.Join(dir, "script"), Guest: "/root/x", Executable: true},
		},
		Outs: []Out{{Guest: "result", Host: "x"}, {Guest: "/var/log", Host: "y"}},
	}
	var archive bytes.Buffer
	if err := job.writeTar(&archive); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for reader := tar.NewReader(&archive); ; {
		header, err := reader.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		data, _ := io.ReadAll(reader)
		got[header.Name] = header.Linkname + string(data)
		if header.Name == "root/x" && header.Mode&0o111 != 0o111 {
			t.Errorf("the script has mode %o", header.Mode)
		}
	}
	for name, want := range map[string]string{
		"lab/job/tree/": "", "lab/job/tree/sub/file": "content", "lab/job/tree/link": "sub/file", "root/x": "#!/bin/sh",
		"lab/job/.outs": "/lab/job/result\n/var/log\n",
	} {
		if text, found := got[name]; !found || text != want {
			t.Errorf("%s: %q (found: %v), want %q", name, text, found, want)
		}
	}
}

func TestOutTarget(t *testing.T) {
	outs := []Out{{Host: "/h/a"}, {Host: "/h/b"}}
	for name, want := range map[string]string{
		"./0/": "/h/a", "./0/x/y": "/h/a/x/y", "1": "/h/b", "./": "", "2/x": "", "./0/../../etc/passwd": "", "x": "",
	} {
		if got, ok := outTarget(name, outs); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v; want %q", name, got, ok, want)
		}
	}
}

func TestTestJob(t *testing.T) {
	dir := t.TempDir()
	args := []string{"-test.testlogfile=/b/log", "-test.timeout=3m0s", "-test.coverprofile=c.out", "-test.outputdir=/o", "-test.run=X", "arg"}
	job := TestJob("/b/pkg.test", args, dir)
	want := []string{"/lab/job/pkg.test", "-test.timeout=3m0s", "-test.coverprofile=/tmp/coverprofile", "-test.run=X", "arg"}
	if !slices.Equal(job.Command, want) {
		t.Errorf("the command is %q, want %q", job.Command, want)
	}
	if len(job.Files) != 1 {
		t.Errorf("without testdata there are the files %v", job.Files)
	}
	if want := []Out{{Guest: "/tmp/coverprofile", Host: "/o/c.out"}}; !slices.Equal(job.Outs, want) {
		t.Errorf("handed back is %v, want %v", job.Outs, want)
	}
	if limit, found := TestTimeout(args); !found || limit != 3*time.Minute {
		t.Errorf("the limit is %v, %v", limit, found)
	}
	write(t, filepath.Join(dir, "testdata/x"), "")
	if job := TestJob("/b/pkg.test", nil, dir); len(job.Files) != 2 {
		t.Errorf("with testdata there are the files %v", job.Files)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
