package e2e

import (
	"fmt"
	"strings"

	"github.com/overlayzfs/overlayzfs/integration/walkthrough"
)

// expectedStep is what TestNewcomer knows of a step of README.md.
type expectedStep struct {
	begins string // its first words
	sees   string // what is looked at after it: a key of newcomer.looks
	fails  string // it is meant to fail, and says this
	asks   bool   // it asks, and is answered with yes
	not    string // why it is not followed
}

// newcomerSteps is every step of README.md, in its order. Those that the lab cannot
// follow to the letter stand in newcomer.instead and adaptCommand, too.
var newcomerSteps = []expectedStep{
	{begins: "make demo", not: "boots the lab, which this is"},
	{begins: "make test", not: "runs this"},

	{begins: "zfs create"},
	{begins: "zfs set sync=disabled"},
	{begins: "make plugin build"},
	{begins: "install build/overlayzfs"},
	{begins: "docker plugin create"},
	{begins: "docker plugin set"},
	{begins: "docker plugin enable"},
	{begins: `{"experimental"`},
	{begins: "systemctl restart docker"},
	{begins: "docker info", sees: "the driver"},

	{begins: "docker pull busybox"},
	{begins: "printf", sees: "an image"},
	{begins: "docker run --rm hello", sees: "its file"},
	{begins: "docker run -d --name small"},
	{begins: "docker exec small df", sees: "the limit"},
	{begins: "docker exec small dd", fails: "quota exceeded"},

	{begins: "overlayzfs snapshot", sees: "a name"},
	{begins: "overlayzfs snapshots", sees: "the snapshot"},
	{begins: "docker rm -f small", sees: "no image"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "umount /var/lib/docker"},
	{begins: "overlayzfs rollback", asks: true},
	{begins: "zfs mount"},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the same image"},

	{begins: "docker rm -f small"},
	{begins: "docker image prune", asks: true},
	{begins: "docker builder prune", asks: true},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --dry-run", sees: "the plan"},
	{begins: "overlayzfs migrate", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the former images on the plugin"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --finish", asks: true},
	{begins: "systemctl start docker"},

	{begins: "overlayzfs doctor", sees: "the former images on the plugin"},
	{begins: "overlayzfs ls", sees: "the former names"},
	{begins: "overlayzfs df"},
	{begins: "overlayzfs verify"},

	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --back", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker ps", sees: "the former images on overlay2"},
	{begins: "systemctl stop docker.socket docker"},
	{begins: "overlayzfs migrate --finish", asks: true},
	{begins: "systemctl start docker"},
	{begins: "docker plugin disable"},
	{begins: "docker plugin rm"},
	{begins: "zfs destroy -r"},
	{begins: "zfs destroy"},
	{begins: "rm /usr/local/sbin/overlayzfs", sees: "nothing of ours"},
}

// readmeStep is one step, and what is known of it.
type readmeStep struct {
	walkthrough.Step
	expectedStep
}

// matchSteps are those of a document, each of which has to be known, and all
// that are known to be there.
func matchSteps(document string) (all []readmeStep, err error) {
	steps, err := walkthrough.Read(document)
	if err != nil {
		return nil, err
	}
	for i, step := range steps {
		if i == len(newcomerSteps) {
			return nil, fmt.Errorf("line %d: nothing is known of %q: add it to newcomerSteps", step.Line, step.Text)
		}
		if want := newcomerSteps[i]; !want.is(step.Text) {
			return nil, fmt.Errorf("line %d: there is %q, and newcomerSteps has %q", step.Line, step.Text, want.begins)
		}
		all = append(all, readmeStep{step, newcomerSteps[i]})
	}
	if n := len(all); n < len(newcomerSteps) {
		return nil, fmt.Errorf("%q, of newcomerSteps, is not there", newcomerSteps[n].begins)
	}
	return all, nil
}

// is reports whether a text begins with these very words.
func (k expectedStep) is(text string) bool {
	rest, ok := strings.CutPrefix(text, k.begins)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \n:"))
}

// adaptCommand puts a reader's own names into a command. The guest has no network.
func adaptCommand(command, snapshot string) string {
	return strings.NewReplacer(
		"POOL", "tank", "NAME", snapshot,
		"docker run ", "docker run --network none ", "docker build ", "docker build --network none ",
	).Replace(command)
}
