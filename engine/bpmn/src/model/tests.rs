use super::{FieldValue, Implementation, Model, NodeKind};

fn document(body: &str) -> String {
    format!(
        "<definitions xmlns=\"http://www.omg.org/spec/BPMN/20100524/MODEL\" xmlns:camunda=\"http://camunda.org/schema/1.0/bpmn\" id=\"d\">\n\
         <message id=\"m\" name=\"m\"/><message id=\"unnamed\"/><error id=\"e\" errorCode=\"E\"/><signal id=\"s\" name=\"s\"/>\n\
         <process id=\"p\" isExecutable=\"true\"><startEvent id=\"start\"/>\n{body}\n</process></definitions>"
    )
}

/// Texts of the errors, each as `line element text`.
fn errors(body: &str) -> Vec<String> {
    match Model::parse(document(body).as_bytes()) {
        Ok(_) => Vec::new(),
        Err(errors) => errors.iter().map(|error| format!("{} {} {}", error.line, error.element, error.text)).collect(),
    }
}

#[test]
fn what_is_not_executed_is_refused_by_name_element_and_line() {
    for (body, expected) in [
        (r#"<callActivity id="x"/>"#, "call activity names no process (calledElement)"),
        (
            r#"<callActivity id="x" calledElement="q" camunda:calledElementBinding="version"/>"#,
            "call activity with binding version is not executed",
        ),
        (
            r#"<callActivity id="x" calledElement="q" camunda:caseRef="c"/>"#,
            "attribute camunda:caseRef on callActivity is not executed",
        ),
        (r#"<scriptTask id="x"/>"#, "script is no expression of the form ${...}"),
        (
            r#"<scriptTask id="x" scriptFormat="groovy"><script>x = 1</script></scriptTask>"#,
            "script in language groovy is not executed",
        ),
        (r#"<businessRuleTask id="x"/>"#, "businessRuleTask is not executed"),
        (r#"<complexGateway id="x"/>"#, "complexGateway is not executed"),
        (r#"<transaction id="x"/>"#, "transaction is not executed"),
        (r#"<adHocSubProcess id="x"/>"#, "adHocSubProcess is not executed"),
        (r#"<subProcess id="x" triggeredByEvent="true"/>"#, "event sub-process needs exactly one start event"),
        (
            r#"<endEvent id="x"><cancelEventDefinition/></endEvent>"#,
            "cancelEventDefinition on endEvent is not executed",
        ),
        (
            r#"<intermediateThrowEvent id="x"><linkEventDefinition name="l"/></intermediateThrowEvent>"#,
            "link l is caught by no event beside it",
        ),
        (r#"<intermediateThrowEvent id="x"><linkEventDefinition/></intermediateThrowEvent>"#, "link has no name"),
        (
            r#"<intermediateThrowEvent id="x"><compensateEventDefinition activityRef="start"/></intermediateThrowEvent>"#,
            "compensation refers to start, which is no activity of this scope",
        ),
        (
            r#"<intermediateThrowEvent id="x"><messageEventDefinition messageRef="m"/></intermediateThrowEvent>"#,
            "message has no implementation (camunda:class), nothing would be sent",
        ),
        (
            r#"<startEvent id="x"><timerEventDefinition><timeDuration>${later}</timeDuration></timerEventDefinition></startEvent>"#,
            "timer of a start event must not depend on variables",
        ),
        (r#"<startEvent id="x"><errorEventDefinition/></startEvent>"#, "errorEventDefinition cannot start a process"),
        (
            r#"<intermediateCatchEvent id="x"><timerEventDefinition><timeCycle>R0/PT1S</timeCycle></timerEventDefinition></intermediateCatchEvent>"#,
            "timer cycle \"R0/PT1S\" never fires",
        ),
        (
            r#"<intermediateCatchEvent id="x"><timerEventDefinition><timeDuration>soon</timeDuration></timerEventDefinition></intermediateCatchEvent>"#,
            "\"soon\" is not an ISO-8601 duration such as PT20S",
        ),
        (
            r#"<intermediateCatchEvent id="x"><messageEventDefinition messageRef="unnamed"/></intermediateCatchEvent>"#,
            "message unnamed has no name",
        ),
        (r#"<intermediateCatchEvent id="x"/>"#, "intermediate catch event has no event definition"),
        (
            r#"<serviceTask id="x"/>"#,
            "serviceTask has no implementation (camunda:class, camunda:expression or an external topic)",
        ),
        (r#"<manualTask id="x" camunda:topic="t"/>"#, "attribute camunda:topic on manualTask is not executed"),
        (
            r#"<serviceTask id="x" camunda:class="c"><extensionElements><camunda:connector/></extensionElements></serviceTask>"#,
            "extension camunda:connector on serviceTask is not executed",
        ),
        (
            r#"<serviceTask id="x" camunda:class="c" isForCompensation="true"/>"#,
            "no compensation boundary event is associated with the compensating activity",
        ),
        (
            r#"<serviceTask id="x" camunda:class="c"><standardLoopCharacteristics/></serviceTask>"#,
            "loop has neither loopCondition nor loopMaximum and would never end",
        ),
        (
            r#"<task id="x"><multiInstanceLoopCharacteristics camunda:collection="c"><loopDataOutputRef>o</loopDataOutputRef></multiInstanceLoopCharacteristics></task>"#,
            "loopDataOutputRef of a multi-instance activity is not executed",
        ),
        (
            r#"<task id="x"><multiInstanceLoopCharacteristics/></task>"#,
            "multi-instance activity has neither a collection nor loopCardinality",
        ),
        (
            r#"<task id="x"><extensionElements><camunda:inputOutput><camunda:inputParameter name="a"><camunda:script scriptFormat="javascript">1</camunda:script></camunda:inputParameter></camunda:inputOutput></extensionElements></task>"#,
            "script in language javascript is not executed",
        ),
        (
            r#"<receiveTask id="x" messageRef="m" instantiate="true"/>"#,
            "receiveTask that starts the process (instantiate) is not executed",
        ),
        (r#"<exclusiveGateway id="x"/>"#, "exclusive gateway has no outgoing sequence flow"),
        (r#"<subProcess id="x"/>"#, "sub-process needs exactly one start event"),
        (
            r#"<userTask id="x" camunda:formKey="${"/>"#,
            "expression \"${\", position 3: expression is not closed with }",
        ),
        (
            r#"<userTask id="x" camunda:asyncBefore="maybe"/>"#,
            "attribute asyncBefore is \"maybe\" instead of true or false",
        ),
    ] {
        assert_eq!(errors(body), [format!("4 x {expected}")], "{body}");
    }
}

#[test]
fn structure_is_checked() {
    for (body, expected) in [
        ("<task id='a'/><sequenceFlow id='f' sourceRef='a' targetRef='b'/>", "4 f target b does not exist"),
        (
            "<task id='a'/><sequenceFlow id='f' sourceRef='a' targetRef='start'/>",
            "3 start start event has an incoming sequence flow",
        ),
        ("<task id='a'/><task id='a'/>", "4 a id is used by another element"),
        ("<task id='a' default='f'/>", "4 a default flow is no outgoing sequence flow of the element"),
        ("<task/>", "4 task task has no id"),
        ("<startEvent id='b'/>", "3 p process has more than one none start event"),
        (
            "<boundaryEvent id='b' attachedToRef='start'><errorEventDefinition/></boundaryEvent>",
            "4 b boundary event is attached to start, which is no activity beside it",
        ),
        (
            "<task id='t'/><boundaryEvent id='b' attachedToRef='t' cancelActivity='false'><errorEventDefinition/></boundaryEvent>",
            "4 b error boundary event always interrupts (cancelActivity)",
        ),
        (
            "<task id='t'/><boundaryEvent id='b' attachedToRef='t'><compensateEventDefinition/></boundaryEvent>",
            "4 b compensation boundary event needs one association to the activity that compensates",
        ),
        (
            "<subProcess id='s' triggeredByEvent='true'><startEvent id='x'/></subProcess>",
            "4 x start event of an event sub-process needs a trigger",
        ),
        (
            "<task id='a'/><subProcess id='s'><startEvent id='x'/></subProcess><sequenceFlow id='f' sourceRef='a' targetRef='x'/>",
            "4 f sequence flow crosses the border of a sub-process",
        ),
        (
            "<eventBasedGateway id='g'/><task id='a'/><sequenceFlow id='f' sourceRef='g' targetRef='a'/>",
            "4 g event-based gateway leads to a, which is no intermediate catch event of its own",
        ),
        (
            "<exclusiveGateway id='g'/><task id='a'/><task id='b'/><sequenceFlow id='f' sourceRef='g' targetRef='a'/>\
             <sequenceFlow id='h' sourceRef='g' targetRef='b'><conditionExpression>${x}</conditionExpression></sequenceFlow>",
            "4 g sequence flow f has no condition and is not the default",
        ),
        (
            "<task id='a'/><task id='b'/><sequenceFlow id='f' sourceRef='a' targetRef='b'><conditionExpression>= x &gt; 1</conditionExpression></sequenceFlow>",
            "4 f condition \"= x > 1\" is no expression of the form ${...}",
        ),
        (
            "<task id='a'/><task id='b'/><sequenceFlow id='f' sourceRef='a' targetRef='b'><conditionExpression language='groovy'>x</conditionExpression></sequenceFlow>",
            "4 f script in language groovy is not executed",
        ),
    ] {
        let found = errors(body);
        assert!(found.iter().any(|error| error == expected), "{body}: {found:?}");
    }
}

#[test]
fn several_errors_are_reported_together_in_document_order() {
    let found =
        errors("<scriptTask id='a'/>\n<serviceTask id='b'/>\n<sequenceFlow id='f' sourceRef='a' targetRef='b'/>");
    assert_eq!(found.len(), 2);
    assert!(found[0].starts_with("4 a ") && found[1].starts_with("5 b "), "{found:?}");
}

#[test]
fn lanes_data_artefacts_documentation_and_foreign_extensions_are_passed_over() {
    let body = "<documentation>d</documentation><laneSet id='l'><lane id='l1'><flowNodeRef>start</flowNodeRef></lane></laneSet>\
        <dataObject id='o'/><dataObjectReference id='r' dataObjectRef='o'/><textAnnotation id='t'/><association id='x' sourceRef='a' targetRef='t'/>\
        <group id='g'/><task id='a' xmlns:z='urn:z' z:y='1'><extensionElements><z:foreign/></extensionElements><ioSpecification/></task>";
    assert_eq!(errors(body), Vec::<String>::new());
}

#[test]
fn camunda_and_operaton_extensions_mean_the_same() {
    for namespace in ["http://camunda.org/schema/1.0/bpmn", "http://operaton.org/schema/1.0/bpmn"] {
        let xml = document(
            "<serviceTask id='t' camunda:class=' Do ' camunda:asyncBefore='true'><extensionElements>\
             <camunda:field name='a' stringValue='${x}'/><camunda:field name='b'><camunda:expression>${x}</camunda:expression></camunda:field>\
             </extensionElements></serviceTask>",
        )
        .replace("http://camunda.org/schema/1.0/bpmn", namespace);
        let model = Model::parse(xml.as_bytes()).unwrap();
        let node = model.processes[0].node("t").unwrap();
        assert!(node.asynchronous.before && node.asynchronous.exclusive);
        let NodeKind::ServiceTask(Implementation::Class { class, fields, .. }) = &node.kind else { panic!() };
        assert_eq!(class, "Do");
        assert!(matches!(&fields[0].value, FieldValue::Literal(text) if text == "${x}"));
        assert!(matches!(&fields[1].value, FieldValue::Expression(_)));
    }
}

#[test]
fn processes_that_are_not_executable_are_passed_over_and_one_must_be() {
    let both = document("<task id='a'/>")
        .replace("</definitions>", "<process id='q' isExecutable='false'><scriptTask id='s'/></process></definitions>");
    assert_eq!(Model::parse(both.as_bytes()).unwrap().processes.len(), 1);
    let none = document("").replace("isExecutable=\"true\"", "isExecutable=\"false\"");
    assert!(Model::parse(none.as_bytes()).unwrap_err()[0].text.contains("no executable process"));
    assert!(Model::parse(b"<a/>").unwrap_err()[0].text.contains("not definitions"));
}

#[test]
fn start_messages_and_implementations_can_be_listed() {
    let model = Model::parse(include_bytes!("../../tests/models/ping-autostart.bpmn")).unwrap();
    let process = model.process("dsfdev_pingAutostart").unwrap();
    assert_eq!(process.version_tag.as_deref(), Some("1.0"));
    assert_eq!(process.message_start("stopPingAutostart").unwrap().as_ref(), "StopPingAutostartMessageStartEvent");
    assert_eq!(process.message_start("other"), None);
    assert_eq!(process.none_start(), None);
    let elements: Vec<_> = process.implementations().map(|(node, _)| node.id.to_string()).collect();
    assert_eq!(elements, ["SendStartPing", "SetTargetAndConfigureTimer"]);
}
