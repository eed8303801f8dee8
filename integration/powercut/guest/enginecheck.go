package guest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
	"github.com/overlayzfs/overlayzfs/integration/treecmp"
)

// check shows the host every image and container that the engine lists, and
// what lies in the store that it does not.
func (h *house) check(ctx context.Context) error {
	for _, look := range []func() error{h.checkImages, h.checkContainers} {
		if err := look(); err != nil {
			return err
		}
	}
	if h.containerd != nil {
		return nil // it was looked at before containerd could tidy it
	}
	return h.checkStore(ctx)
}

func (h *house) checkImages() error {
	ids, err := h.listed("images", "-aq", "--no-trunc")
	if err != nil {
		return err
	}
	removed := false
	for _, id := range ids {
		if removed { // perhaps the image, too
			left, err := h.listed("images", "-aq", "--no-trunc")
			if err != nil {
				return err
			}
			if !slices.Contains(left, id) {
				continue
			}
		}
		broken := h.saves(id)
		if broken == nil && !slices.ContainsFunc(h.Layers, func(y wire.Layer) bool { return y.ID == id }) {
			broken = h.runs(id)
		}
		if broken == nil || !isMissing(broken) || !h.mayImageBeRemoved(id) {
			if err := h.found(id, broken); err != nil {
				return err
			}
		}
		if broken != nil {
			// It is found once. What stands on it may keep it.
			_, _ = h.Try("rmi", "-f", id)
			removed = true
		}
	}
	return nil
}

// listed are the IDs that a command prints, each once.
func (h *house) listed(args ...string) ([]string, error) {
	out, err := h.Try(args...)
	ids := strings.Fields(out)
	slices.Sort(ids)
	return slices.Compact(ids), err
}

// found tells the host how something that the engine lists was found.
func (h *house) found(id string, broken error) error {
	f := &wire.Found{Exists: true}
	if broken != nil {
		f.Wrong = broken.Error()
	}
	_, err := h.line.Say(wire.Event{Verb: wire.Seen, ID: id, Found: f})
	return err
}

// saves checks that `docker save` gives every layer as the image names it.
func (h *house) saves(id string) error {
	path := filepath.Join(os.TempDir(), "saved.tar")
	defer os.Remove(path)
	if _, err := h.Try("save", "-o", path, id); err != nil {
		return err
	}
	image, err := treecmp.OpenImage(path)
	if err != nil {
		return err
	}
	err = image.Verify()
	if err == nil && h.containerd != nil {
		// This engine saves an image from containerd's content store, not from its layers. So
		// the layers are checked here.
		err = h.shows(image)
	}
	return errors.Join(err, image.Close())
}

func (h *house) runs(id string) error {
	out, err := h.Try("run", "--rm", "--network", "none", id, "/bin/busybox", "echo", "it", "runs")
	if err == nil && out != "it runs" {
		err = fmt.Errorf("a container of it says %q", out)
	}
	return err
}

// checkContainers looks into every container, and removes it: what has been
// running is not of interest any more.
func (h *house) checkContainers() error {
	// A container without its layer cannot be inspected.
	out, err := h.Try("ps", "-a", "--no-trunc", "--format", "{{.ID}} {{.Names}}")
	if err != nil {
		return err
	}
	for line := range strings.Lines(out) {
		id, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		if err := h.checkContainer(id, name); err != nil {
			return err
		}
		if err := h.sayRemoval(name); err != nil {
			return err
		}
		if _, err := h.Try("rm", "-f", id); err != nil {
			return err
		}
	}
	return nil
}

// sayRemoval tells the host that a container is about to be removed.
func (h *house) sayRemoval(name string) error {
	_, err := h.line.Say(wire.Event{Verb: wire.Begin, Call: wire.RemoveContainer, ID: name})
	return err
}

func (h *house) checkContainer(id, name string) error {
	if h.underway(id) {
		return nil
	}
	broken := output(h.Command("cp", id+":/bin/busybox", "-"))
	if broken != nil && isMissing(broken) && h.mayBeRemoved(name) {
		return nil
	}
	return h.found("container "+id, broken)
}

// isMissing reports whether the engine lists something whose layer is not there.
func isMissing(broken error) bool { return strings.Contains(broken.Error(), "does not exist") }

// mayImageBeRemoved reports whether the removal of all names of an image was begun.
func (h *house) mayImageBeRemoved(id string) bool {
	// An image without its layers cannot be inspected.
	out, err := h.Try("images", "-a", "--no-trunc", "--format", "{{.ID}} {{.Repository}}:{{.Tag}}")
	for line := range strings.Lines(out) {
		of, name, _ := strings.Cut(strings.TrimSpace(line), " ")
		removing := func(y wire.Layer) bool { return y.Kind == wire.Image && y.ID == name }
		if of == id && name != "<none>:<none>" && !slices.ContainsFunc(h.Layers, removing) {
			return false
		}
	}
	return err == nil
}

// mayBeRemoved reports whether the removal of a container was begun: by a client, or by the
// engine, which gives those of its builds and of --rm names of its own.
func (h *house) mayBeRemoved(name string) bool {
	return !strings.HasPrefix(name, containerPrefix) ||
		slices.ContainsFunc(h.Layers, func(y wire.Layer) bool { return y.Kind == wire.Container && y.ID == name })
}

func (h *house) checkStore(ctx context.Context) error {
	s, err := h.store()
	if err != nil {
		return err
	}
	names, err := s.inventory(ctx)
	if err != nil {
		return err
	}
	known, err := h.known()
	if err != nil {
		return err
	}
	return h.sayStore(names, known)
}

// sayStore tells the host what lies in the store and is in nobody's records.
func (h *house) sayStore(names []string, known func(id string) bool) error {
	names = slices.DeleteFunc(names, func(name string) bool {
		_, id, _ := strings.Cut(name, " ")
		return known(id)
	})
	_, err := h.line.Ask(wire.Event{Verb: wire.Store, Store: names})
	return err
}

// known tells which layers the engine has in its records: those of images and
// containers as files of the layer store, BuildKit's somewhere in its databases.
func (h *house) known() (func(id string) bool, error) {
	ids := make(map[string]bool)
	db := filepath.Join(dataRoot, "image", h.Driver, "layerdb")
	for _, pattern := range []string{"sha256/*/cache-id", "mounts/*/mount-id", "mounts/*/init-id"} {
		files, err := filepath.Glob(filepath.Join(db, pattern))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			raw, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			ids[string(raw)] = true
		}
	}
	databases, err := filepath.Glob(filepath.Join(dataRoot, "buildkit", "*.db"))
	if err != nil {
		return nil, err
	}
	var text strings.Builder
	for _, path := range databases {
		raw, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		text.Write(raw)
	}
	return func(id string) bool { return ids[id] || len(id) == 25 && strings.Contains(text.String(), id) }, nil
}

// output runs a command and puts what it said into the error.
func output(cmd *exec.Cmd) error {
	out, err := cmd.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, out[max(0, len(out)-1000):])
	}
	return nil
}
