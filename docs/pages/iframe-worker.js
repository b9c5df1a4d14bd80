/* Search runs in a worker, and browsers start none for a page that is opened as a file. Such a page gets
   a hidden frame instead: it loads the same script, and copies of messages pass in both directions. */
if (location.protocol === "file:") {
  window.Worker = class {
    constructor(url) {
      this.frame = document.createElement("iframe");
      this.frame.hidden = true;
      document.body.append(this.frame);
      this.inside = this.frame.contentWindow;
      this.inside.postMessage = message => {
        const data = structuredClone(message);
        setTimeout(() => this.onmessage?.({ data }));
      };
      const script = this.inside.document.createElement("script");
      script.src = url;
      this.loaded = new Promise(done => { script.onload = done; });
      this.inside.document.body.append(script);
    }

    postMessage(message) {
      const data = this.inside.structuredClone(message);
      this.loaded.then(() => this.inside.onmessage?.({ data }));
    }

    terminate() {
      this.frame.remove();
    }
  };
}
