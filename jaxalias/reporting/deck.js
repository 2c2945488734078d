let context = null; // made at the first click, as browsers demand

class Deck {
  // All renders of a clip run side by side from one start time; switching only moves gains, so the position stays.
  constructor(sampleRate, seconds, encoded, onchange) {
    this.sampleRate = sampleRate;
    this.seconds = seconds;
    this.encoded = encoded; // FLAC in base64, one a render
    this.onchange = onchange; // of state
    this.levels = encoded.map(() => 1);
    this.current = 0;
    this.state = "idle"; // or loading, playing, paused, failed
    this.loop = true;
    this.region = [0, seconds]; // what is looped
    this.offset = 0; // position at the start time, or while paused, in s
    this.startedAt = 0;
    this.sources = null;
    this.gains = [];
    this.buffers = null;
  }

  become(state) {
    this.state = state;
    this.onchange();
  }

  position() {
    if (!this.sources) return this.offset;
    const reached = this.offset + Math.max(0, context.currentTime - this.startedAt);
    const [from, to] = this.region;
    if (!this.loop) return Math.min(reached, this.seconds);
    return reached < to ? reached : from + ((reached - from) % (to - from));
  }

  async load() {
    context = context || new AudioContext({ sampleRate: this.sampleRate });
    this.buffers = await Promise.all(this.encoded.map((flac) => {
      const text = atob(flac);
      return context.decodeAudioData(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
    }));
    this.gains = this.buffers.map(() => new GainNode(context, { gain: 0 }));
    for (const gain of this.gains) gain.connect(context.destination);
  }

  async play() { // throws what the browser has against it
    if (this.state === "loading" || this.sources) return;
    this.become("loading");
    try {
      if (!this.buffers) await this.load();
      await context.resume();
    } catch (error) {
      this.become("failed");
      throw error;
    }
    if (this.state === "loading") this.start(); // else: paused meanwhile
  }

  start() {
    const [loopStart, loopEnd] = this.region;
    this.startedAt = context.currentTime + 0.03; // all at one instant that has not passed yet
    this.sources = this.buffers.map((buffer, i) => {
      const source = new AudioBufferSourceNode(context, { buffer, loop: this.loop, loopStart, loopEnd });
      source.connect(this.gains[i]);
      source.start(this.startedAt, this.offset);
      return source;
    });
    this.sources[0].onended = () => this.halt(0);
    this.mix();
    this.become("playing");
  }

  halt(offset) {
    for (const source of this.sources || []) {
      source.onended = null;
      source.stop();
      source.disconnect();
    }
    this.sources = null;
    this.offset = offset;
    this.become("paused");
  }

  pause() {
    if (this.sources) this.halt(this.position());
    else if (this.state === "loading") this.become("paused");
  }

  seek(position) {
    const [from, to] = this.loop ? this.region : [0, this.seconds];
    this.restart(() => { this.offset = Math.min(Math.max(position, from), to - 0.001); });
  }

  setLoop(loop, region) {
    this.restart(() => {
      this.loop = loop;
      this.region = region;
      if (loop && !(region[0] <= this.offset && this.offset < region[1])) this.offset = region[0];
    });
  }

  restart(change) {
    const running = this.sources !== null;
    if (running) this.halt(this.position());
    change();
    if (running) this.start();
    else this.onchange();
  }

  choose(index) {
    this.current = index;
    this.mix();
    this.onchange();
  }

  mix() {
    const FADE_S = 0.004; // of a switch: too short to hear, long enough not to click
    this.gains.forEach((node, i) => {
      node.gain.cancelScheduledValues(context.currentTime);
      node.gain.setTargetAtTime(i === this.current ? this.levels[i] : 0, context.currentTime, FADE_S);
    });
  }
}
