package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// commands are the programs that are published.
var commands = []string{"overlayzfs", "overlayzfs-plugin", "overlayzfs-snapshotter"}

// program is a built command.
type program struct{ name, arch, path string }

// environment is what a build depends on besides the sources and Go itself; what
// the user has set of it does not count.
func environment(arch string) []string {
	return append(os.Environ(),
		"GOOS=linux", "GOARCH="+arch, "CGO_ENABLED=0", "GOAMD64=v1", "GOARM64=v8.0", "GOFLAGS=", "GOEXPERIMENT=", "GOWORK=off")
}

// golang runs a go command on the sources and returns what it prints.
func (r *release) golang(ctx context.Context, arch string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = r.source, environment(arch)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go %s for %s: %w\n%s", args[0], arch, err, complaint.Bytes())
	}
	return out.Bytes(), nil
}

// info is the package that says version and commit.
const info = "github.com/overlayzfs/overlayzfs/internal/buildinfo"

// compile builds all commands into dir.
func (r *release) compile(ctx context.Context, dir, arch string) ([]program, error) {
	var built []program
	for _, name := range commands {
		p := program{name, arch, filepath.Join(dir, name)}
		_, err := r.golang(ctx, arch, "build", "-trimpath", "-buildvcs=false",
			"-ldflags", "-s -w -X "+info+".version="+r.version+" -X "+info+".commit="+r.commit, "-o", p.path, "./cmd/"+name)
		if err != nil {
			return nil, err
		}
		built = append(built, p)
	}
	return built, nil
}

// shells are those that there is a completion for.
var shells = []string{"bash", "zsh", "fish"}

// help has the operator's command write its manual pages and completions: this
// machine's, which may be none of those that are published.
func (r *release) help(ctx context.Context, stage string) (*tree, error) {
	dir := filepath.Join(stage, "help")
	overlayzfs := filepath.Join(dir, "overlayzfs")
	// Only this build writes pages: those that are published link no Markdown renderer.
	if _, err := r.golang(ctx, runtime.GOARCH, "build", "-tags", "man", "-trimpath", "-buildvcs=false", "-o", overlayzfs, "./cmd/overlayzfs"); err != nil {
		return nil, err
	}
	pages := filepath.Join(dir, "man")
	if _, err := r.ask(ctx, overlayzfs, "man", pages); err != nil {
		return nil, err
	}
	t := newTree()
	if err := t.addDir("man", pages); err != nil {
		return nil, err
	}
	for _, shell := range shells {
		text, err := r.ask(ctx, overlayzfs, "completion", shell)
		if err != nil {
			return nil, err
		}
		t.add("completion/overlayzfs."+shell, 0o644, text)
	}
	return t, nil
}

// ask runs a program that was built, and returns what it prints.
func (r *release) ask(ctx context.Context, program string, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = append(os.Environ(), fmt.Sprintf("SOURCE_DATE_EPOCH=%d", r.time.Unix()), "TZ=UTC", "LC_ALL=C")
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", filepath.Base(program), strings.Join(args, " "), err)
	}
	return out, nil
}
