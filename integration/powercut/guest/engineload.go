package guest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/overlayzfs/overlayzfs/integration/powercut/layers"
	"github.com/overlayzfs/overlayzfs/integration/powercut/wire"
)

// mostImages is how many images a client makes before it removes its first.
const mostImages = 3

// The names of images and containers begin with these.
const (
	imagePrefix     = "cut:"
	containerPrefix = "cut-"
)

// run never returns but with an error of the line. Clients do not touch each
// other's images.
func (h *house) run(context.Context) error {
	if err := h.removeFormer(); err != nil {
		return err
	}
	errs := make(chan error, h.Workers)
	var clients sync.WaitGroup
	for n := range h.Workers {
		clients.Go(func() {
			c := &client{
				house: h, Rand: layers.Random(h.Seed + uint64(h.Round)<<16 + uint64(n)<<8),
				name: fmt.Sprintf(imagePrefix+"r%d-c%d", h.Round, n),
			}
			for {
				if err := c.next(); err != nil {
					errs <- err
					return
				}
			}
		})
	}
	clients.Wait()
	return <-errs
}

// removeFormer removes what earlier rounds made, but for the last few images.
func (h *house) removeFormer() error {
	out, err := h.Try("images", "--format", "{{.Repository}}:{{.Tag}}", "cut")
	if err != nil {
		return err
	}
	var former []string
	for _, name := range strings.Fields(out) {
		if name != baseImage {
			former = append(former, name)
		}
	}
	if len(former) <= mostImages {
		return nil
	}
	former = former[mostImages:]
	_, err = h.call("rmi", strings.Join(former, " "), func() error {
		_, err := h.Try(append([]string{"rmi"}, former...)...)
		return err
	})
	return err
}

// call makes a call that the host knows of. The host judges a refusal; err is an
// error of the line.
func (h *house) call(what, name string, do func() error) (ok bool, err error) {
	event := wire.Event{Verb: wire.Begin, Call: wire.Call(what), ID: name}
	if _, err := h.line.Say(event); err != nil {
		return false, err
	}
	event.Verb = wire.Done
	if refused := do(); refused != nil {
		event.Verb, event.Text = wire.Failed, refused.Error()
	}
	_, err = h.line.Say(event)
	return event.Verb == wire.Done, err
}

// client does one thing after the other.
type client struct {
	*house
	*rand.Rand
	name string
	made int
	mine []string
}

func (c *client) next() error {
	if len(c.mine) > mostImages {
		first := c.mine[0]
		c.mine = c.mine[1:]
		_, err := c.call("rmi", first, func() error { return c.removeImage(first) })
		return err
	}
	kinds := []struct {
		what string
		do   func(name string) error
	}{
		{"load", c.load}, {"import", c.importTar}, {"build", c.classic}, {"buildkit", c.buildKit}, {"commit", c.commit},
	}
	kind := kinds[c.IntN(len(kinds))]
	c.made++
	name := fmt.Sprintf("%s-%d", c.name, c.made)
	ok, err := c.call(kind.what, name, func() error { return kind.do(name) })
	if ok {
		c.mine = append(c.mine, name)
	}
	return err
}

// removeImage removes an image. The other client may have one of the same content,
// and for a moment a container of it: the engine refuses then.
func (c *client) removeImage(name string) error {
	const tries, pause = 50, 200 * time.Millisecond
	for try := 1; ; try++ {
		_, err := c.Try("rmi", name)
		if err == nil || try == tries || !strings.Contains(err.Error(), "is using its referenced image") {
			return err
		}
		time.Sleep(pause)
	}
}

// from is an image to build upon.
func (c *client) from() string {
	if len(c.mine) == 0 || c.IntN(3) == 0 {
		return baseImage
	}
	return c.mine[len(c.mine)-1]
}

func (c *client) load(name string) error {
	stack := [][]byte{c.root}
	for n := range 1 + c.IntN(3) {
		// A deletion in a directory that no layer below has shows when that
		// directory is read, as it does on any overlay.
		layer, err := layers.Tar(c.Uint64(), layers.Options{Base: n == 0})
		if err != nil {
			return err
		}
		stack = append(stack, layer)
	}
	return c.loadArchive(name, stack...)
}

func (c *client) importTar(name string) error {
	cmd := c.Command("import", "-", name)
	cmd.Stdin = bytes.NewReader(c.root)
	return output(cmd)
}

func (c *client) classic(name string) error { return c.build(name, "0") }

func (c *client) buildKit(name string) error { return c.build(name, "1") }

func (c *client) build(name, buildKit string) (err error) {
	dir, err := os.MkdirTemp("", "context-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	dockerfile := "FROM " + c.from() + "\nCOPY content /\n" +
		`RUN ["/bin/busybox", "sh", "-c", "/bin/busybox mkdir -p /tmp && /bin/busybox cp /content /tmp/copy && /bin/busybox rm -f /etc/removed && /bin/busybox ln -sfn copy /tmp/link"]` + "\n"
	for file, content := range map[string][]byte{
		"Dockerfile": []byte(dockerfile),
		"content":    layers.Content(c.Rand, 1+c.IntN(400_000)),
	} {
		if err := os.WriteFile(filepath.Join(dir, file), content, 0o644); err != nil {
			return err
		}
	}
	cmd := c.Command("build", "--network", "none", "-t", name, dir)
	cmd.Env = append(cmd.Env, "DOCKER_BUILDKIT="+buildKit)
	return output(cmd)
}

// commit runs a container, every other one with a limit, and makes an image
// of it.
func (c *client) commit(name string) error {
	container := containerPrefix + strings.TrimPrefix(name, imagePrefix)
	args := []string{"run", "--name", container, "--network", "none"}
	limited := !c.unlimited && c.IntN(2) == 0
	if limited {
		args = append(args, "--storage-opt", "size=64M")
	}
	args = append(args, c.from(), "/bin/busybox", "sh", "-c",
		"/bin/busybox dd if=/dev/urandom of=/random bs=64k count=4 && /bin/busybox cp /bin/busybox /bin/other && /bin/busybox rm -rf /tmp")
	_, err := c.Try(args...)
	if err != nil && limited && wire.NoLimits(err.Error()) {
		c.unlimited = true
		return c.commit(name)
	}
	if err != nil {
		return err
	}
	if _, err := c.Try("commit", container, name); err != nil {
		return err
	}
	if c.IntN(4) == 0 {
		return nil // it stays, stopped
	}
	if err := c.sayRemoval(container); err != nil {
		return err
	}
	_, err = c.Try("rm", container)
	return err
}
